//! The table, and the rows that many fields have in common.

use std::fmt::Write as _;

use prost_types::{Duration, Struct, Value, value::Kind};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Clients, Rpc, object};

/// Calls that have to be refused, each for one field.
pub(super) struct Table {
    clients: Clients,
    pub(super) rows: usize,
    wrong: String,
}

impl Table {
    pub(super) fn new(clients: Clients) -> Self {
        Self {
            clients,
            rows: 0,
            wrong: String::new(),
        }
    }

    /// Fails with every row that was answered otherwise than it should.
    pub(super) fn check(self) {
        assert!(self.wrong.is_empty(), "\n{}", self.wrong);
    }

    /// One row: the call is refused since `field` is `what`.
    pub(super) async fn row(&mut self, field: &str, what: &str, request: impl Rpc) {
        self.rows += 1;
        let method = std::any::type_name_of_val(&request);
        let method = method.rsplit("::").next().unwrap_or(method);
        if let Err(problem) = names_field(request.send(&self.clients).await, field) {
            let what: String = what.escape_debug().take(60).collect();
            writeln!(self.wrong, "{method}: {field} is {what}: {problem}").unwrap();
        }
    }

    /// Rows for an id that may be left out.
    pub(super) async fn id<R: Rpc>(
        &mut self,
        field: &str,
        good: &R,
        set: fn(&mut R) -> &mut String,
    ) {
        let long = "x".repeat(129);
        let longer = "x".repeat(100_000);
        let bad = [
            "a:b", "{a}", "{", "}", "a\nb", "\n", "\r", "\t", "a\0", "\0", " ", "a b", " a", "a ",
            "a/b", "a*", "a?", "a[b]", "a%b", "a,b", "a;b", "a'b", "a\"b", "a\\b", "a|b", "ä",
            "日本", "🙂", "\u{200b}", "..\u{7f}", "$", "a@b", "a+b", &long, &longer,
        ];
        for id in bad {
            let mut request = good.clone();
            *set(&mut request) = id.to_owned();
            self.row(field, id, request).await;
        }
    }

    /// Rows for an id that has to be there.
    pub(super) async fn required_id<R: Rpc>(
        &mut self,
        field: &str,
        good: &R,
        set: fn(&mut R) -> &mut String,
    ) {
        let mut request = good.clone();
        set(&mut request).clear();
        self.row(field, "empty", request).await;
        self.id(field, good, set).await;
    }

    /// Rows for a text of at most `max` bytes.
    pub(super) async fn text<R: Rpc>(
        &mut self,
        field: &str,
        max: usize,
        good: &R,
        set: fn(&mut R) -> &mut String,
    ) {
        for text in ["x".repeat(max + 1), "ä".repeat(max / 2 + 1)] {
            let mut request = good.clone();
            *set(&mut request) = text;
            self.row(field, "too long", request).await;
        }
    }

    /// Rows for an enum; `others` are values that are known but mean nothing
    /// here.
    pub(super) async fn choice<R: Rpc>(
        &mut self,
        field: &str,
        others: &[i32],
        good: &R,
        set: fn(&mut R, i32),
    ) {
        for value in [-1, 99, i32::MAX, i32::MIN].iter().chain(others) {
            let mut request = good.clone();
            set(&mut request, *value);
            self.row(field, &value.to_string(), request).await;
        }
    }

    /// Rows for metadata and its like.
    pub(super) async fn object<R: Rpc>(
        &mut self,
        field: &str,
        good: &R,
        set: fn(&mut R) -> &mut Option<Struct>,
    ) {
        for (what, bad) in bad_objects() {
            let mut request = good.clone();
            *set(&mut request) = Some(bad);
            self.row(field, what, request).await;
        }
    }

    /// Rows for a duration.
    pub(super) async fn duration<R: Rpc>(
        &mut self,
        field: &str,
        good: &R,
        set: fn(&mut R) -> &mut Option<Duration>,
    ) {
        let bad = [
            (-1, 0),
            (0, -1),
            (1, -1),
            (-1, 1),
            (0, 1_000_000_000),
            (315_576_000_001, 0),
            (i64::MAX, 0),
            (i64::MIN, 0),
            (0, i32::MIN),
        ];
        for (seconds, nanos) in bad {
            let mut request = good.clone();
            *set(&mut request) = Some(Duration { seconds, nanos });
            self.row(field, &format!("{seconds} s {nanos} ns"), request)
                .await;
        }
    }

    /// Rows for what asks for a page.
    pub(super) async fn page<R: Rpc>(
        &mut self,
        good: &R,
        size: fn(&mut R) -> &mut i32,
        token: fn(&mut R) -> &mut String,
    ) {
        for bad in [-1, i32::MIN] {
            let mut request = good.clone();
            *size(&mut request) = bad;
            self.row("page_size", &bad.to_string(), request).await;
        }
        let long = format!("1.{}", "x".repeat(129));
        let longer = "9".repeat(100_000);
        let broken = [
            "x",
            ".",
            "..",
            "1",
            "1.",
            ".s",
            "x.s",
            "-1.s",
            "1.5.a:b",
            "1.s ",
            " 1.s",
            "1.s\n",
            "1.\0",
            "1.ä",
            "99999999999999999999.s",
            "1e3.s",
            "NaN.s",
            "$",
            "-",
            &long,
            &longer,
        ];
        for bad in broken {
            let mut request = good.clone();
            *token(&mut request) = bad.to_owned();
            self.row("page_token", bad, request).await;
        }
    }

    /// Rows for a place in a log.
    pub(super) async fn cursor<R: Rpc>(
        &mut self,
        field: &str,
        good: &R,
        set: fn(&mut R) -> &mut String,
    ) {
        let long = format!("1-{}", "1".repeat(100_000));
        let broken = [
            "x",
            "-",
            "1-",
            "-1",
            "+1",
            "00",
            "01",
            "0-0",
            "0-1",
            "1-x",
            "1-2-3",
            "1 ",
            " 1",
            "1\n",
            "1\0",
            "1-01",
            "1.5",
            "1e3",
            "NaN",
            "１",
            "$1",
            "*",
            "(1",
            "1-*",
            "9223372036854775808",
            "18446744073709551615",
            "99999999999999999999",
            "1-99999999999999999999",
            "0-18446744073709551615",
            &long,
        ];
        for cursor in broken {
            let mut request = good.clone();
            *set(&mut request) = cursor.to_owned();
            self.row(field, cursor, request).await;
        }
    }
}

fn names_field(answer: Result<(), Status>, field: &str) -> Result<(), String> {
    let Err(status) = answer else {
        return Err("was accepted".to_owned());
    };
    if status.code() != Code::InvalidArgument {
        let message: String = status.message().chars().take(200).collect();
        return Err(format!("{:?}: {message}", status.code()));
    }
    let info = status.get_details_error_info().ok_or("no ErrorInfo")?;
    let request = status.get_details_bad_request().ok_or("no BadRequest")?;
    let violations = request.field_violations;
    let named: Vec<_> = violations.iter().map(|v| v.field.as_str()).collect();
    let is_right =
        named == [field] && info.reason == "INVALID_FIELD" && info.domain == "throughline";
    match is_right {
        true if violations[0].description.is_empty() => Err("is not described".to_owned()),
        true if status.message().len() > 1_000 => Err("has a text too long".to_owned()),
        true => Ok(()),
        false => Err(format!("names {named:?}, {info:?}")),
    }
}

fn bad_objects() -> Vec<(&'static str, Struct)> {
    let mut deep = json!({});
    for _ in 0..24 {
        deep = json!({ "deeper": deep });
    }
    let mut list = json!([]);
    for _ in 0..24 {
        list = json!([list]);
    }
    vec![
        ("over 16 KiB", object(json!({ "a": "x".repeat(16 * 1024) }))),
        (
            "over 16 KiB by its key",
            object(json!({ "x".repeat(16 * 1024): 1 })),
        ),
        (
            "over 16 KiB by escapes",
            object(json!({ "a": "\u{1}".repeat(3_000) })),
        ),
        ("of too many fields", many_fields()),
        ("nested too deep", object(deep)),
        ("nested too deep in lists", object(json!({ "a": list }))),
        ("NaN", number(f64::NAN)),
        ("infinite", number(f64::INFINITY)),
        ("negatively infinite", number(f64::NEG_INFINITY)),
        ("NaN in a list", in_list(f64::NAN)),
    ]
}

fn many_fields() -> Struct {
    let fields = (0..5_000).map(|index| (index.to_string(), Value::from(0.0)));
    Struct {
        fields: fields.collect(),
    }
}

fn number(number: f64) -> Struct {
    let value = Value {
        kind: Some(Kind::NumberValue(number)),
    };
    Struct {
        fields: [("number".to_owned(), value)].into(),
    }
}

fn in_list(number: f64) -> Struct {
    let list = Value::from(vec![Value::from(number)]);
    Struct {
        fields: [("list".to_owned(), list)].into(),
    }
}
