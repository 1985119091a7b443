//! Procedures that the stories run, as JSON. Knows the devices of a rig.

use serde_json::{Value, json};

use crate::rig::{METER, SUPPLY};

pub const READINGS: usize = 5;

/// Sets the supply, reads the meter, leaves the supply off. Every step kind that clients see differently.
pub fn ramp() -> Value {
    json!({
        "name": "psu-ramp",
        "params": { "volts": { "type": "float", "unit": "V", "min": 0.0, "max": 12.0, "default": 3.3 } },
        "roles": { "psu": { "class": "psu" }, "meter": { "device": METER } },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": "{{ volts }}" } },
            { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
            { "id": "note", "use": "log", "with": { "message": "supply is at {{ volts }} V", "level": "info" } },
            {
                "id": "read", "use": "instrument.read", "on": "meter", "phase": "solving",
                "with": { "reading": "value", "samples": READINGS, "every": "100ms" },
                "expect": { "voltage": { "min": 3.2, "max": 3.4 } }
            }
        ],
        "finally": [{ "id": "off", "use": "instrument.safe_state", "on": "psu" }]
    })
}

/// Reads the meter for a while: long enough for a test to break something in the middle.
pub fn long_reading(samples: usize) -> Value {
    json!({
        "name": "long-reading",
        "roles": { "meter": { "device": METER } },
        "steps": [{
            "id": "read", "use": "instrument.read", "on": "meter", "timeout": "5m",
            "with": { "reading": "value", "samples": samples, "every": "100ms" }
        }]
    })
}

/// Holds the supply until it is cancelled, so that another run which needs it waits while a test opens its sockets.
pub fn holding() -> Value {
    json!({
        "name": "holding",
        "roles": { "psu": { "device": SUPPLY } },
        "steps": [
            { "id": "touch", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": 1.0 } },
            { "id": "hold", "use": "delay", "with": { "duration": "10m" }, "timeout": "11m" }
        ]
    })
}

/// Switches the supply on and leaves it on until it is stopped.
pub fn left_on() -> Value {
    json!({
        "name": "left-on",
        "roles": { "psu": { "device": SUPPLY } },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": 5.0 } },
            { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
            { "id": "hold", "use": "delay", "with": { "duration": "10m" }, "timeout": "11m" }
        ]
    })
}
