//! Numbers that cannot be out of their range, and say so in error messages and in the schema.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

use crate::{ErrorCode, JobError};

/// A number with bounds.
pub trait Bounded: Copy {
    /// What it may be, for messages, e.g. `a number from 0.1 to 1`.
    const RANGE: &'static str;

    /// The number, if it may be it.
    fn new(value: f64) -> Option<Self>;
}

/// Defines a number with bounds: `bounded! { /// Doc. Name: u8, "a whole number", 0 ..= 100 }`. Serde refuses what lies outside
/// and says what may be; the schema states it.
#[macro_export]
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident: $number:ty, $kind:literal, $low:literal ..= $high:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, ::serde::Serialize)]
        #[serde(transparent)]
        pub struct $name($number);

        impl $name {
            /// The number.
            pub const fn get(self) -> $number {
                self.0
            }
        }

        impl $crate::ranges::Bounded for $name {
            const RANGE: &'static str = concat!($kind, " from ", $low, " to ", $high);

            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against the range")]
            fn new(value: f64) -> Option<Self> {
                let exact = value as $number;
                (value >= f64::from($low) && value <= f64::from($high) && f64::from(exact) == value).then_some($name(exact))
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::ranges::read(deserializer)
            }
        }

        impl ::schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                let kind = if $kind == "a number" { "number" } else { "integer" };
                ::schemars::json_schema!({ "type": kind, "minimum": $low, "maximum": $high })
            }
        }
    };
}

bounded! {
    /// Quality of an encoded video: 100 is best and largest.
    Quality: u8, "a whole number", 0 ..= 100
}
bounded! {
    /// Speed of an encoder: 10 is fastest.
    Speed: u8, "a whole number", 0 ..= 10
}
bounded! {
    /// A time in a video.
    Seconds: f64, "a number", 0 ..= 43200
}

/// Refuses the part of a video from `start_secs` to `end_secs` where that is none. Without one it begins or ends as the video.
///
/// # Errors
/// [`ErrorCode::ParamsInvalid`].
pub fn check_part(start_secs: Option<Seconds>, end_secs: Option<Seconds>) -> crate::Result<()> {
    let start = start_secs.map_or(0.0, Seconds::get);
    if end_secs.is_some_and(|end| start >= end.get()) {
        let why = "Parameter `end_secs` is not valid: it must be later than `start_secs`.";
        return Err(JobError::new(ErrorCode::ParamsInvalid, why));
    }
    Ok(())
}

/// Reads a number with bounds: what [`bounded!`] makes `Deserialize` of.
///
/// # Errors
/// Where it is none or lies outside; the message says what it may be.
pub fn read<'de, T: Bounded, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Number(PhantomData))
}

struct Number<T>(PhantomData<T>);

impl<T: Bounded> Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::RANGE)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        T::new(value).ok_or_else(|| E::custom(format!("it is {value} but must be {}", T::RANGE)))
    }
    #[allow(clippy::cast_precision_loss, reason = "numbers that large are out of every range")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        self.visit_f64(value as f64)
    }
    #[allow(clippy::cast_precision_loss, reason = "numbers that large are out of every range")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        self.visit_f64(value as f64)
    }
}

/// `"auto"` or a number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Auto<T> {
    /// Chosen from the input.
    #[default]
    Auto,
    /// As the caller says.
    Set(T),
}

impl<T: Serialize> Serialize for Auto<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Auto::Auto => serializer.serialize_str("auto"),
            Auto::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Bounded> Deserialize<'de> for Auto<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AutoOr(Number(PhantomData)))
    }
}

impl<T: JsonSchema> JsonSchema for Auto<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("AutoOr{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "const": "auto" }, T::json_schema(generator)] })
    }
}

struct AutoOr<T>(Number<T>);

impl<T: Bounded> Visitor<'_> for AutoOr<T> {
    type Value = Auto<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`auto` or {}", T::RANGE)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Auto<T>, E> {
        match text {
            "auto" => Ok(Auto::Auto),
            _ => Err(E::custom(format!("it is `{text}` but must be `auto` or {}", T::RANGE))),
        }
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Auto<T>, E> {
        self.0.visit_f64(value).map(Auto::Set)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Auto<T>, E> {
        self.0.visit_u64(value).map(Auto::Set)
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Auto<T>, E> {
        self.0.visit_i64(value).map(Auto::Set)
    }
}
