//! How requests are read, by prost, with errors from the one table; and what
//! answers are gathered in.

use std::marker::PhantomData;

use bytes::Buf;
use prost::Name;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

use super::bound::{FIELDS_MAX, is_bearable};
use crate::api::status::invalid;

/// What a request is read into, and an answer written, at first: an idle watch
/// keeps the latter.
const BUFFER_BYTES: usize = 1024;
/// An answer of more bytes than this is handed to HTTP/2 before more is encoded:
/// it is what a watch that nobody reads keeps, twice.
const CHUNK_BYTES: usize = 16 * 1024;

/// What a call is answered with.
pub(super) trait Encodable: Send + 'static {
    /// Adds it to what is sent.
    fn encode(self, bytes: &mut EncodeBuf<'_>);
}

impl<T: prost::Message + 'static> Encodable for T {
    /// Makes room for all of it before it is written, which prost does not: a large
    /// one would be copied each time that its buffer grows.
    fn encode(self, bytes: &mut EncodeBuf<'_>) {
        bytes.reserve(self.encoded_len());
        self.encode_raw(bytes);
    }
}

/// Reads `U` and writes `T`.
pub(super) struct RequestCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for RequestCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for RequestCodec<T, U>
where
    T: Encodable,
    U: prost::Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ResponseEncoder<T>;
    type Decoder = RequestDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ResponseEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        RequestDecoder(ProstDecoder::new(buffers()))
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, CHUNK_BYTES)
}

/// Writes answers.
pub(super) struct ResponseEncoder<T>(PhantomData<T>);

impl<T: Encodable> Encoder for ResponseEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, answer: T, bytes: &mut EncodeBuf<'_>) -> Result<(), Status> {
        answer.encode(bytes);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

/// Refuses what is no `U` as the caller's mistake, which prost does not.
pub(super) struct RequestDecoder<U>(ProstDecoder<U>);

impl<U: prost::Message + Name + Default> Decoder for RequestDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if !is_bearable::<U>(bytes.chunk()) {
            let problem = format!("must have at most {FIELDS_MAX} fields, in all that it holds");
            return Err(invalid("request", problem));
        }
        self.0
            .decode(bytes)
            .map_err(|status| invalid(field(status.message()), "cannot be read"))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// The field of the request that prost could not read. Prost names all on the
/// way to it as `Message.field: `, the request's own last.
fn field(error: &str) -> &str {
    error
        .split(": ")
        .filter_map(|part| part.split_once('.'))
        .filter(|(_, field)| !field.contains(' '))
        .last()
        .map_or("", |(_, field)| field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_the_outermost_that_prost_names() {
        let text = "failed to decode Protobuf message: Value.kind: Struct.fields: \
                    Request.metadata: invalid string value: data is not UTF-8 encoded";
        assert_eq!(field(text), "metadata");
        assert_eq!(
            field("failed to decode Protobuf message: buffer underflow"),
            ""
        );
    }
}
