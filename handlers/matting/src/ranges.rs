//! Numbers that cannot be out of their range, and say so in error messages and in the schema.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

/// A number with bounds.
pub trait Bounded: Copy {
    /// What it may be, for messages, e.g. `a number from 0.1 to 1`.
    const RANGE: &'static str;

    /// The number, if it may be it.
    fn new(value: f64) -> Option<Self>;
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident: $number:ty, $kind:literal, $low:literal ..= $high:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name($number);

        impl $name {
            /// The number.
            pub const fn get(self) -> $number {
                self.0
            }
        }

        impl Bounded for $name {
            const RANGE: &'static str = concat!($kind, " from ", $low, " to ", $high);

            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against the range")]
            fn new(value: f64) -> Option<Self> {
                let exact = value as $number;
                (value >= f64::from($low) && value <= f64::from($high) && f64::from(exact) == value).then_some($name(exact))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Number(PhantomData))
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let kind = if $kind == "a number" { "number" } else { "integer" };
                json_schema!({ "type": kind, "minimum": $low, "maximum": $high })
            }
        }
    };
}

bounded! {
    /// How much smaller than the frame the model looks for people.
    Ratio: f64, "a number", 0.1 ..= 1
}
bounded! {
    /// Frames a call.
    BatchSize: u32, "a whole number", 1 ..= 32
}
bounded! {
    /// 100 is best.
    Quality: u8, "a whole number", 0 ..= 100
}
bounded! {
    /// 10 is fastest.
    Speed: u8, "a whole number", 0 ..= 10
}
bounded! {
    /// A time in a video.
    Seconds: f64, "a number", 0 ..= 43200
}
bounded! {
    /// A count that another tool took.
    GpuCount: u32, "a whole number", 0 ..= 64
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
