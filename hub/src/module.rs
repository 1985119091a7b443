//! The modules that a step may use: where each runs and what it takes.

use rigwire_shared::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// At the agent, on one device.
    Device,
    /// In the hub itself.
    Hub,
}

#[derive(Debug)]
pub struct Module {
    pub id: &'static str,
    pub runs: Where,
    required: &'static [&'static str],
    /// `None`: takes any further keys, checked by the device's profile at the agent.
    optional: Option<&'static [&'static str]>,
}

pub const MODULES: &[Module] = &[
    Module {
        id: "instrument.read",
        runs: Where::Device,
        required: &[],
        optional: Some(&["reading", "samples", "every"]),
    },
    Module { id: "instrument.action", runs: Where::Device, required: &["action"], optional: None },
    Module { id: "instrument.safe_state", runs: Where::Device, required: &[], optional: Some(&[]) },
    Module {
        id: "process.run",
        runs: Where::Device,
        required: &["program"],
        optional: Some(&["args", "environment", "results", "file"]),
    },
    Module { id: "delay", runs: Where::Hub, required: &["duration"], optional: Some(&[]) },
    Module { id: "log", runs: Where::Hub, required: &["message"], optional: Some(&["level"]) },
    Module { id: "assert", runs: Where::Hub, required: &["that"], optional: Some(&["message"]) },
];

/// A mistake in a step's `with`; `key` is empty or begins with a dot.
pub struct Problem {
    pub key: String,
    pub message: String,
}

impl Module {
    pub const fn required(&self) -> &'static [&'static str] {
        self.required
    }

    /// Further keys that it takes; `None` where the device's profile says it.
    pub const fn optional(&self) -> Option<&'static [&'static str]> {
        self.optional
    }

    pub fn check(&self, fields: &[(String, Value)]) -> Vec<Problem> {
        let missing = self
            .required
            .iter()
            .filter(|key| !fields.iter().any(|(name, _)| name == *key))
            .map(|key| Problem { key: String::new(), message: format!("{} needs {key}", self.id) });
        let unknown = fields.iter().filter_map(|(name, _)| {
            let optional = self.optional?;
            let known = self.required.iter().chain(optional).any(|key| key == name);
            let all: Vec<&str> = self.required.iter().chain(optional).copied().collect();
            let all = if all.is_empty() { "nothing".to_owned() } else { all.join(", ") };
            (!known).then(|| Problem { key: format!(".{name}"), message: format!("{} takes {all}", self.id) })
        });
        missing.chain(unknown).collect()
    }
}

pub fn find(id: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.id == id)
}

/// For the message about a module that does not exist.
pub fn known() -> String {
    let known: Vec<&str> = MODULES.iter().map(|module| module.id).collect();
    format!("modules: {}", known.join(", "))
}
