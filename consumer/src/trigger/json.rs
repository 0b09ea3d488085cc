//! JSON without room for two readings.

use std::fmt;

use darkroom_api::{ErrorCode, JobError, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting. serde_json reads 128 levels: what is written of a message elsewhere, in records for one, is some
/// levels deeper, and must be read again.
const MAX_DEPTH: u32 = 64;
/// Names that begin so make serde_json read a string as JSON, unchecked, when a value is converted.
const PRIVATE: &str = "$serde_json::private::";

/// Parses JSON; refuses a name given twice in one object, which other readers take for the first or the last, and
/// nesting of more than 64 levels. Length is bounded by the caller.
///
/// # Errors
/// [`ErrorCode::MessageInvalid`] with line and column.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Strict { levels_left: MAX_DEPTH }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(
        |e| {
            let message = format!("The message is not valid JSON: {}.", crate::store::shorten(&e.to_string()));
            JobError::new(ErrorCode::MessageInvalid, message)
        },
    )
}

#[derive(Clone, Copy)]
struct Strict {
    levels_left: u32,
}

impl Strict {
    fn inside<E: serde::de::Error>(self) -> Result<Strict, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Strict { levels_left }),
            None => Err(E::custom(format!("it is nested deeper than {MAX_DEPTH} levels"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let (mut list, inside) = (Vec::new(), self.inside()?);
        while let Some(item) = items.next_element_seed(inside)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let (mut map, inside) = (Map::new(), self.inside()?);
        while let Some(name) = entries.next_key::<String>()? {
            if name.starts_with(PRIVATE) {
                return Err(serde::de::Error::custom(format!("the name {name:?} is not allowed")));
            }
            let value = entries.next_value_seed(inside)?;
            if let Some(_first) = map.insert(name.clone(), value) {
                return Err(serde::de::Error::custom(format!("the name {name:?} is given twice")));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_serde_json_reads() {
        let text = r#" {"a":[1,-2,3.5,true,null,"x\u00e9"],"b":{"a":{}}} "#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn refuses_two_readings_depth_and_rubbish() {
        let deep = "[".repeat(100_000);
        let level = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(level(MAX_DEPTH as usize).as_bytes()).is_ok());
        for (bytes, says) in [
            (br#"{"a":1,"a":1}"#.as_slice(), "given twice"),
            (br#"{"p":{"x":[{"b":1,"b":2}]}}"#, "given twice"),
            (deep.as_bytes(), "nested deeper"),
            (level(MAX_DEPTH as usize + 1).as_bytes(), "nested deeper"),
            (br#"{"params":{"$serde_json::private::RawValue":"{\"a\":1,\"a\":2}"}}"#, "not allowed"),
            (b"{} {}", "trailing"),
            (b"", "EOF"),
            (b"hello", "expected"),
            (b"\"\xff\xfe\"", "unicode"),
            (b"\xef\xbb\xbf{}", "expected"),
            (b"1e999", "out of range"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert_eq!(error.code, ErrorCode::MessageInvalid);
            assert!(error.message.contains(says), "{}", error.message);
        }
    }
}
