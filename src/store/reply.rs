//! Reading what Redis answers.

use redis::{FromRedisValue, Value};

use super::StoreError;

/// Takes an answer apart, as one of the functions is documented to give it.
pub(super) fn parse<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    T::from_redis_value(value).map_err(StoreError::corrupt)
}

/// The elements of an array; nil is an empty one.
pub(super) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Nil => Ok(Vec::new()),
        other => Err(StoreError::Corrupt(format!(
            "an array was expected, not {}",
            kind(&other)
        ))),
    }
}

/// The elements of an array of exactly N.
pub(super) fn elements<const N: usize>(value: Value) -> Result<[Value; N], StoreError> {
    array(value)?
        .try_into()
        .map_err(|_| StoreError::Corrupt(format!("{N} elements were expected")))
}

/// Members of a sorted set with their scores, in RESP2 or RESP3.
pub(super) fn scored(value: Value) -> Result<Vec<(u64, String)>, StoreError> {
    let flat: Vec<Value> = array(value)?
        .into_iter()
        .flat_map(|value| match value {
            Value::Array(pair) => pair,
            single => vec![single],
        })
        .collect();
    let pairs = flat.chunks_exact(2).map(|pair| {
        let score: f64 = parse(pair[1].clone())?;
        Ok((score as u64, parse(pair[0].clone())?))
    });
    pairs.collect()
}

/// The answer of a function that gives a word and what belongs to it.
pub(super) struct Outcome {
    pub(super) word: String,
    rest: std::vec::IntoIter<Value>,
}

impl Outcome {
    pub(super) fn parse(value: Value) -> Result<Self, StoreError> {
        let mut rest = array(value)?.into_iter();
        Ok(Self {
            word: parse(rest.next().unwrap_or_default())?,
            rest,
        })
    }

    /// The next element after the word.
    pub(super) fn take<T: FromRedisValue>(&mut self) -> Result<T, StoreError> {
        parse(self.rest.next().unwrap_or_default())
    }

    /// The error for a word that nobody knows.
    pub(super) fn unknown(&self) -> StoreError {
        StoreError::Corrupt(format!("unknown answer {:?}", self.word))
    }
}

/// What a value is, without what it holds: that is for nobody's log.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "an integer",
        Value::BulkString(_) | Value::SimpleString(_) => "a string",
        Value::Array(_) => "an array",
        _ => "something else",
    }
}
