//! Whole agents against a real broker, with simulated instruments behind real pseudo terminals.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at one kind of event and skips the others")]

#[cfg(test)]
mod broker;
#[cfg(test)]
mod instrument;
#[cfg(test)]
mod support;
