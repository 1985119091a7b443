//! What JSON looks like that holds ids, units and values: the types that write themselves as a bare text or number. Knows no
//! message.

use alloc::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::ids::{AgentId, AttemptId, DeviceId, Epoch, Fence, MetricName, RunId, StepId};
use crate::unit::{UNIT_MAX, Unit};
use crate::value::Value;

macro_rules! written_as {
    ($($name:ident $schema:tt),+ $(,)?) => {
        $(
            impl JsonSchema for $name {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )+
    };
}

written_as! {
    AgentId {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"},
    DeviceId {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"},
    MetricName {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
    StepId {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
    RunId {"type": "string", "format": "uuid"},
    AttemptId {"type": "string", "format": "uuid"},
    Epoch {"type": "integer", "format": "uint64", "minimum": 0},
    Fence {"type": "integer", "format": "uint64", "minimum": 0},
    Unit {"type": "string", "maxLength": UNIT_MAX},
}

/// Anything.
impl JsonSchema for Value {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}
