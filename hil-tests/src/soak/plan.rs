//! What a round starts, and what must be true of it whatever happens: which step needs which, which step sends which voltage to
//! the supply. No voltage is sent by two steps of a round, so the simulator can tell which attempt reached it.

use serde_json::{Value, json};

use super::round::{Kind, Round};
use crate::rig::METER;

/// Name of the program that the agent of the soak offers.
pub const PROGRAM: &str = "soak";

/// Procedures that a suite names: (name, procedure).
pub fn named() -> [(&'static str, Value); 2] {
    let one = json!({
        "name": "soak-one",
        "params": { "level": { "type": "float", "unit": "V", "min": 0.0, "max": 31.0 } },
        "roles": { "psu": { "class": "psu" }, "meter": meter() },
        "steps": [set("set_one", &json!("{{ level }}")), read("read_one", &["set_one"])],
        "finally": finally(),
    });
    let two = json!({
        "name": "soak-two",
        "steps": [
            { "id": "rest_two", "use": "delay", "with": { "duration": "200ms" } },
            { "id": "say_two", "use": "log", "with": { "message": "rested" } },
        ],
    });
    [("soak-one", one), ("soak-two", two)]
}

/// A step that sets the supply's voltage, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setter {
    pub step: &'static str,
    /// In hundredths of a volt, both included.
    pub from: i64,
    pub to: i64,
}

#[derive(Debug, Clone)]
pub struct Plan {
    /// Bodies of `POST /api/v1/runs`.
    pub starts: Vec<Value>,
    /// (step, what it needs), in all runs of the round.
    pub needs: Vec<(&'static str, &'static str)>,
    pub setters: Vec<Setter>,
    /// Runs that the first one starts when nothing goes wrong.
    pub children: usize,
    /// First argument of the program, if there is one.
    pub token: Option<String>,
}

impl Plan {
    pub fn of(seed: u64, round: &Round) -> Self {
        // Rounds next to each other use other voltages, so that a late order of one does not pass for one of the next.
        let base = 100 * (1 + i64::try_from(round.number % 25).unwrap_or_default());
        let plain = |start: Value| Self {
            starts: vec![json!({ "procedure": start })],
            needs: Vec::new(),
            setters: Vec::new(),
            children: 0,
            token: None,
        };
        let setter = |step, from, to| Setter { step, from: base + from, to: base + to };
        match round.kind {
            Kind::Procedure => Self {
                needs: vec![
                    ("never", "set_a"),
                    ("rest", "read_a"),
                    ("set_b", "set_a"),
                    ("set_b", "read_a"),
                    ("set_b", "never"),
                    ("on", "set_b"),
                    ("read_b", "on"),
                    ("read_b", "rest"),
                ],
                setters: vec![setter("set_a", 1, 1), setter("set_b", 2, 2)],
                ..plain(procedure(base))
            },
            Kind::Sweep => Self {
                needs: vec![("on", "set_s"), ("read_s", "on")],
                setters: vec![setter("set_s", 10, 13)],
                ..plain(sweep(base))
            },
            Kind::Suite => Self {
                needs: vec![("read_one", "set_one"), ("say_two", "rest_two"), ("check", "set_in")],
                setters: vec![setter("set_one", 20, 20), setter("set_in", 21, 21)],
                children: 4,
                ..plain(suite(base))
            },
            Kind::Study => Self {
                needs: vec![("read_i", "set_i")],
                setters: vec![setter("set_i", 30, 40)],
                children: 4,
                ..plain(study(base, seed, true))
            },
            Kind::Told => plain(study(base, seed, false)),
            Kind::Workflow => Self {
                needs: vec![("read_w", "set_w"), ("off_w", "read_w"), ("off_w", "said")],
                setters: vec![setter("set_w", 50, 50)],
                ..plain(workflow(base))
            },
            Kind::External => Self {
                starts: vec![json!({ "external": true, "kind": "solve", "name": "soak-external", "deadline_s": 120 })],
                ..plain(Value::Null)
            },
            Kind::Shared => Self {
                needs: vec![("read_x", "set_x"), ("off_x", "read_x"), ("read_y", "set_y"), ("off_y", "read_y")],
                setters: vec![setter("set_x", 60, 60), setter("set_y", 61, 61)],
                starts: vec![
                    json!({ "procedure": shared(base + 60, ["set_x", "read_x", "off_x"]) }),
                    json!({ "procedure": shared(base + 61, ["set_y", "read_y", "off_y"]) }),
                ],
                ..plain(Value::Null)
            },
            Kind::Program => {
                let token = format!("soak-{seed}-{}", round.number);
                Self { needs: vec![("said", "go")], token: Some(token.clone()), ..plain(program(&token)) }
            }
        }
    }
}

fn meter() -> Value {
    json!({ "device": METER })
}

fn volts(hundredths: i64) -> Value {
    json!(f64::from(i32::try_from(hundredths).unwrap_or_default()) / 100.0)
}

fn set(id: &str, v: &Value) -> Value {
    json!({
        "id": id, "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": v }, "needs": [],
        "timeout": "5s", "retry": { "times": 2, "backoff": "150ms" },
    })
}

fn read(id: &str, needs: &[&str]) -> Value {
    json!({
        "id": id, "use": "instrument.read", "on": "meter", "needs": needs, "phase": "solving", "timeout": "10s",
        "with": { "reading": "value", "samples": 3, "every": "50ms" },
        "retry": { "times": 2, "backoff": "150ms" }, "expect": { "voltage": { "min": 3.2, "max": 3.4 } },
    })
}

fn switch_on(needs: &[&str]) -> Value {
    json!({
        "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true }, "needs": needs,
        "timeout": "5s", "retry": { "times": 2, "backoff": "150ms" },
    })
}

fn finally() -> Value {
    json!([
        { "id": "off", "use": "instrument.safe_state", "on": "psu", "timeout": "10s", "retry": { "times": 3, "backoff": "300ms" } },
        { "id": "bye", "use": "log", "with": { "message": "left safe" } },
    ])
}

fn procedure(base: i64) -> Value {
    json!({
        "name": "soak-procedure",
        "params": { "volts": { "type": "float", "default": 3.3 } },
        "roles": { "psu": { "class": "psu" }, "meter": meter() },
        "steps": [
            set("set_a", &volts(base + 1)),
            read("read_a", &[]),
            { "id": "never", "use": "log", "with": { "message": "never said" }, "when": "volts > 20", "needs": ["set_a"] },
            { "id": "rest", "use": "delay", "with": { "duration": "150ms" }, "needs": ["read_a"] },
            with_needs(set("set_b", &volts(base + 2)), &["set_a", "read_a", "never"]),
            switch_on(&["set_b"]),
            read("read_b", &["on", "rest"]),
        ],
        "finally": finally(),
    })
}

fn with_needs(mut step: Value, needs: &[&str]) -> Value {
    step["needs"] = json!(needs);
    step
}

fn sweep(base: i64) -> Value {
    let levels: Vec<Value> = (10..=13).map(|step| volts(base + step)).collect();
    json!({
        "name": "soak-sweep",
        "roles": { "psu": { "class": "psu" }, "meter": meter() },
        "sweep": { "label": "Sweep", "of": "levels", "axes": [{ "name": "level", "values": levels, "unit": "V" }] },
        "steps": [set("set_s", &json!("{{ level }}")), switch_on(&["set_s"]), read("read_s", &["on"])],
        "finally": finally(),
    })
}

fn suite(base: i64) -> Value {
    json!({
        "name": "soak-suite", "kind": "suite", "suite": { "parallel": 2 },
        "tests": [
            { "id": "one", "procedure": "soak-one", "params": { "level": volts(base + 20) }, "runs": 2 },
            { "id": "two", "name": "Rests", "procedure": "soak-two", "tags": ["slow"] },
            { "id": "three", "procedure": {
                "name": "three", "roles": { "psu": { "class": "psu" } },
                "steps": [
                    set("set_in", &volts(base + 21)),
                    { "id": "check", "use": "assert", "with": { "that": "steps.set_in is defined" } },
                ],
                "finally": finally(),
            } },
        ],
    })
}

fn study(base: i64, seed: u64, carried_out: bool) -> Value {
    let mut study = json!({
        "name": "soak-study", "kind": "optimization",
        "variables": { "level": { "type": "float", "min": volts(base + 30), "max": volts(base + 40) } },
        "objectives": { "loss": { "direction": "minimize" } },
        "strategy": { "name": if seed.is_multiple_of(2) { "random" } else { "nelder-mead" }, "budget": 4, "seed": seed },
    });
    if carried_out {
        study["objectives"]["loss"]["metric"] = json!("read_i.voltage.mean");
        study["roles"] = json!({ "psu": { "class": "psu" }, "meter": meter() });
        study["steps"] = json!([set("set_i", &json!("{{ level | round(2) }}")), read("read_i", &["set_i"])]);
        study["finally"] = finally();
    }
    study
}

fn workflow(base: i64) -> Value {
    json!({
        "kind": "workflow", "name": "soak-workflow",
        "nodes": [
            { "id": "set_w", "type": "instrument.action", "position": { "x": 0, "y": 0 }, "data": {
                "on": { "class": "psu" }, "action": "set_voltage", "v": volts(base + 50), "timeout": "5s",
                "retry": { "times": 2, "backoff": "150ms" } } },
            { "id": "read_w", "type": "instrument.read", "data": {
                "on": METER, "reading": "value", "samples": 3, "every": "50ms", "timeout": "10s",
                "retry": { "times": 2, "backoff": "150ms" } } },
            { "id": "said", "type": "log", "data": { "message": "beside it" } },
            { "id": "off_w", "type": "instrument.safe_state", "data": { "on": { "class": "psu" } } },
        ],
        "edges": [
            { "source": "set_w", "target": "read_w" },
            { "source": "read_w", "target": "off_w" },
            { "source": "said", "target": "off_w" },
        ],
        "finally": [{ "id": "bye", "use": "log", "with": { "message": "drawn to its end" } }],
    })
}

fn shared(hundredths: i64, [set_id, read_id, off_id]: [&str; 3]) -> Value {
    json!({
        "name": "soak-shared",
        "roles": { "psu": { "class": "psu", "hold": "step" }, "meter": { "device": METER, "hold": "step" } },
        "steps": [
            set(set_id, &volts(hundredths)),
            read(read_id, &[set_id]),
            { "id": off_id, "use": "instrument.safe_state", "on": "psu", "needs": [read_id] },
        ],
        "finally": finally(),
    })
}

fn program(token: &str) -> Value {
    json!({
        "name": "soak-program",
        "steps": [
            { "id": "go", "use": "process.run", "with": { "program": PROGRAM, "args": [token] }, "timeout": "20s",
              "retry": { "times": 2, "backoff": "150ms" } },
            { "id": "said", "use": "log", "with": { "message": "it measured {{ steps.go.level }}" } },
        ],
        "finally": [
            { "id": "after", "use": "process.run", "with": { "program": PROGRAM, "args": [format!("{token}-after")] },
              "timeout": "20s" },
        ],
    })
}
