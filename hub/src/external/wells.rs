//! The state of wells as a producer reports it: masks in hexadecimal, volumes in mask order. Knows no event.

use rigwire_shared::value::{Fields, Value};

use super::fields::Mistake;

const KEYS: [&str; 3] = ["liquid_mask", "volumes", "tip_mask"];

/// Checks each resource's wells.
pub(super) fn check(path: &str, wells: &Fields) -> Result<(), Mistake> {
    for (resource, state) in wells {
        let path = format!("{path}.{resource}");
        let Value::Map(state) = state else {
            return Err(Mistake::new(path, format!("is not an object of {}", KEYS.join(", "))));
        };
        for (key, value) in state {
            let at = format!("{path}.{key}");
            match key.as_str() {
                "liquid_mask" | "tip_mask" if value.as_str().is_some_and(is_mask) => {}
                "liquid_mask" | "tip_mask" => {
                    return Err(Mistake::new(at, "is no mask, expected a text such as \"0x0f\""));
                }
                "volumes" => check_volumes(&at, value)?,
                _ => return Err(Mistake::new(at, format!("wells have no such field, expected {}", KEYS.join(", ")))),
            }
        }
    }
    Ok(())
}

fn is_mask(text: &str) -> bool {
    text.strip_prefix("0x").is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn check_volumes(path: &str, value: &Value) -> Result<(), Mistake> {
    let Value::List(volumes) = value else { return Err(Mistake::new(path, "is not a list of numbers")) };
    match volumes.iter().position(|volume| volume.as_f64().is_none()) {
        None => Ok(()),
        Some(index) => Err(Mistake::new(format!("{path}[{index}]"), "is not a number")),
    }
}
