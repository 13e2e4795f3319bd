//! NDJSON: serde_json finds the values, whatever they are; a record is an object with the keys of
//! one, alone in its line.

use crate::{Record, keys};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const KEYS: [&str; 3] = ["domain", "host_type", "status"];

#[derive(Serialize, Deserialize)]
#[serde(expecting = "an object with domain, host_type and status")]
struct Written<'a> {
    #[serde(borrow)]
    domain: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    host_type: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    status: Option<std::borrow::Cow<'a, str>>,
}

/// What the input begins with.
pub(crate) enum Found {
    /// A value of this length.
    Value(usize),
    /// It goes on behind the input.
    Part(String),
    /// No JSON.
    Wrong(String),
}

pub(crate) fn find(input: &[u8]) -> Found {
    let mut values = serde_json::Deserializer::from_slice(input).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(_)) => Found::Value(values.byte_offset()),
        Some(Err(error)) if error.is_eof() => Found::Part(reason(&error)),
        Some(Err(error)) => Found::Wrong(reason(&error)),
        None => Found::Part("there is no value".to_owned()),
    }
}

/// The first key that no record has.
pub(crate) fn unknown_key(text: &str) -> Option<String> {
    let object: BTreeMap<String, IgnoredAny> = serde_json::from_str(text).ok()?;
    let unknown = object.keys().find(|key| !KEYS.contains(&key.as_str()))?;
    Some(keys::unknown("key", unknown, &KEYS))
}

pub(crate) fn record(text: &str) -> Result<Record, String> {
    if !text.trim_start().starts_with('{') {
        return Err("a line must be an object with domain, host_type and status".to_owned());
    }
    let written: Written<'_> = serde_json::from_str(text).map_err(|error| reason(&error))?;
    let Written { domain, host_type, status } = written;
    Record::new(domain.into_owned(), host_type.into_owned(), status.as_deref())
}

/// Not with the place, which is that in the record.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

pub(crate) fn write(record: [&str; 3], to: &mut Vec<u8>) -> serde_json::Result<()> {
    let [domain, host_type, status] = record.map(std::borrow::Cow::Borrowed);
    serde_json::to_writer(&mut *to, &Written { domain, host_type, status: Some(status) })?;
    to.push(b'\n');
    Ok(())
}
