//! One simulated instrument: bytes in and the time, replies with their delays out. No port, no clock, no task.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rigwire_shared::value::Value;

use super::fault::Fault;
use crate::profile::Profile;
use crate::profile::definition::{Rule, SimulatorDefinition, Variable};

/// A command without a terminator is complete when nothing follows for this long.
const COMMAND_IDLE: Duration = Duration::from_millis(5);
/// A command that is longer than this is none.
const COMMAND_MAX: usize = 4096;
/// Replies that nobody takes are lost beyond so many pieces, as on a line without flow control.
const OUTPUT_MAX: usize = 4096;
/// Most entries that a queue variable keeps, as the error queue of an instrument.
const QUEUE_MAX: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Bytes(Vec<u8>),
    /// The device is gone from the bus.
    Unplug,
}

#[derive(Debug)]
pub struct SimulatorCore {
    profile: Arc<Profile>,
    definition: SimulatorDefinition,
    variables: BTreeMap<String, Variable>,
    pending: Vec<u8>,
    last_input: Option<Instant>,
    output: VecDeque<(Instant, Output)>,
    faults: Vec<Fault>,
    noise: u32,
    changed: bool,
}

impl SimulatorCore {
    pub fn new(profile: Arc<Profile>) -> Result<Self, String> {
        let id = &profile.id;
        let definition = profile.simulator().cloned().ok_or_else(|| format!("profile {id} has no simulator"))?;
        if definition.is_image {
            return Err(format!("profile {id}: its simulator is a register image, which is not played yet"));
        }
        let variables = definition.variables.clone();
        Ok(Self {
            profile,
            definition,
            variables,
            pending: Vec::new(),
            last_input: None,
            output: VecDeque::new(),
            faults: Vec::new(),
            noise: 0x2545_F491,
            changed: true,
        })
    }

    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        if self.faults.contains(&Fault::Echo) {
            self.emit(now, Output::Bytes(bytes.to_vec()));
        }
        self.pending.extend_from_slice(bytes);
        self.last_input = Some(now);
        let end = self.definition.command_end.clone();
        if !end.is_empty() {
            while let Some(at) = self.pending.windows(end.len()).position(|window| window == end) {
                let line: Vec<u8> = self.pending.drain(..at + end.len()).collect();
                let line = line[..at].trim_ascii_end();
                if let Some((rule, _)) = self.first_match(line) {
                    self.follow(&rule, line, now);
                }
            }
        }
        if self.pending.len() > COMMAND_MAX {
            self.pending.clear();
        }
    }

    /// What is due, one piece per call.
    pub fn next_output(&mut self, now: Instant) -> Option<Output> {
        self.take_idle_commands(now);
        if self.output.front().is_some_and(|(due, _)| *due <= now) {
            return self.output.pop_front().map(|(_, output)| output);
        }
        None
    }

    /// When to ask again, if nothing comes in before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let idle = self.awaits_idle().then_some(self.last_input).flatten().map(|at| at + COMMAND_IDLE);
        let due = self.output.front().map(|(due, _)| *due);
        idle.into_iter().chain(due).min()
    }

    /// Power was cut: what was on its way is lost, the settings stay.
    pub fn reset_line(&mut self) {
        self.pending.clear();
        self.output.clear();
    }

    pub fn set_faults(&mut self, faults: &[Fault]) {
        self.faults = faults.to_vec();
    }

    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether a variable changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        match self.variables.get(name) {
            Some(Variable::Number(number)) => Some(*number),
            Some(Variable::Text(_) | Variable::Queue(_)) | None => None,
        }
    }

    pub fn get(&self, name: &str) -> Result<String, String> {
        match self.variables.get(name) {
            Some(Variable::Number(number)) => Ok(number.to_string()),
            Some(Variable::Text(text)) => Ok(text.clone()),
            Some(Variable::Queue(entries)) => Ok(entries.join("; ")),
            None => Err(self.unknown(name)),
        }
    }

    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let variable = match self.variables.get(name) {
            Some(Variable::Number(_)) => {
                let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
                Variable::Number(number.ok_or_else(|| format!("variable {name} is a number, {text:?} is none"))?)
            }
            Some(Variable::Text(_)) => Variable::Text(text.to_owned()),
            Some(Variable::Queue(_)) => return Err(format!("variable {name} is a list, expected a number or a text")),
            None => return Err(self.unknown(name)),
        };
        if self.variables.get(name) != Some(&variable) {
            self.variables.insert(name.to_owned(), variable);
            self.changed = true;
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        format!("the simulator of {} has no variable {name}, expected {}", self.profile.id, known.join(", "))
    }

    fn awaits_idle(&self) -> bool {
        self.definition.command_end.is_empty() && !self.pending.is_empty()
    }

    fn take_idle_commands(&mut self, now: Instant) {
        let is_idle = self.last_input.is_some_and(|at| now >= at + COMMAND_IDLE);
        if !self.awaits_idle() || !is_idle {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        // Without a terminator several commands may follow each other; what no rule knows ends the search.
        while let Some((rule, length)) = self.first_match(&pending) {
            let rest = pending.split_off(length);
            self.follow(&rule, &pending, now);
            pending = rest;
        }
    }

    fn first_match(&self, command: &[u8]) -> Option<(Rule, usize)> {
        let may_be_empty = !self.definition.command_end.is_empty();
        self.definition.rules.iter().find_map(|rule| {
            let found =
                rule.on.find(command).filter(|found| found.start() == 0 && (may_be_empty || found.end() > 0))?;
            Some((rule.clone(), found.end()))
        })
    }

    fn follow(&mut self, rule: &Rule, command: &[u8], now: Instant) {
        let groups = rule.on.captures(command);
        for name in &rule.set {
            let text = groups.as_ref().and_then(|groups| groups.name(name));
            let text = text.and_then(|text| std::str::from_utf8(text.as_bytes()).ok());
            // What does not fit the variable is ignored, as instruments ignore what is out of range.
            if let Some(Err(error)) = text.map(|text| self.set(name, text)) {
                tracing::debug!(profile = %self.profile.id, "a command was ignored: {error}");
            }
        }
        for (name, entry) in &rule.push {
            if let Some(Variable::Queue(entries)) = self.variables.get_mut(name)
                && entries.len() < QUEUE_MAX
            {
                entries.push(entry.clone());
            }
        }
        let reply = if let Some((name, empty)) = &rule.pop {
            let entry = match self.variables.get_mut(name) {
                Some(Variable::Queue(entries)) if !entries.is_empty() => Some(entries.remove(0)),
                Some(_) | None => None,
            };
            Some(entry.unwrap_or_else(|| empty.clone()).into_bytes())
        } else {
            self.reply(rule)
        };
        if let Some(mut reply) = reply {
            reply.extend_from_slice(&self.definition.reply_end);
            self.answer(reply, now + rule.delay);
        }
    }

    fn reply(&self, rule: &Rule) -> Option<Vec<u8>> {
        let result = if let Some(template) = &rule.reply {
            let lookup = |name: &str| match self.variables.get(name)? {
                Variable::Number(number) => Some(Value::Float(*number)),
                Variable::Text(text) => Some(Value::Text(text.clone())),
                Variable::Queue(_) => None,
            };
            template.render(&lookup).map(String::into_bytes)
        } else if let Some(expression) = &rule.reply_byte {
            let number = expression.evaluate(&|name| self.number(name)).map_err(|error| error.to_string());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
            number.and_then(|number| {
                (0.0..=255.0)
                    .contains(&number)
                    .then(|| vec![number as u8])
                    .ok_or_else(|| format!("{number} is no byte"))
            })
        } else {
            return None;
        };
        result
            .inspect_err(|error| tracing::warn!(profile = %self.profile.id, "the simulator stays silent: {error}"))
            .ok()
    }

    /// Puts a reply on the line, spoilt as the faults ask.
    fn answer(&mut self, mut reply: Vec<u8>, mut due: Instant) {
        let mut pause = Duration::ZERO;
        let mut unplug = false;
        for fault in self.faults.clone() {
            match fault {
                Fault::Silent => return,
                Fault::Late(delay) => due += delay,
                Fault::Garbage(count) => {
                    let noise: Vec<u8> = (0..count).map(|_| self.noise_byte()).collect();
                    reply.splice(..0, noise);
                }
                Fault::Split(between) => pause = between,
                Fault::Unplug => unplug = true,
                Fault::SixthByte if reply.len() == 5 => reply.push(b'K'),
                Fault::SixthByte | Fault::BadCrc | Fault::Echo | Fault::WrongUnit | Fault::Exception(_) => {}
            }
        }
        if unplug {
            reply.truncate(reply.len() / 2);
        }
        if pause.is_zero() {
            self.emit(due, Output::Bytes(reply));
        } else {
            for byte in reply {
                self.emit(due, Output::Bytes(vec![byte]));
                due += pause;
            }
        }
        if unplug {
            self.emit(due, Output::Unplug);
            self.faults.retain(|fault| *fault != Fault::Unplug);
        }
    }

    /// A queue: a line delivers in the order in which it was written, and what is late holds up what follows.
    fn emit(&mut self, due: Instant, output: Output) {
        if self.output.len() < OUTPUT_MAX {
            self.output.push_back((due, output));
        }
    }

    /// Noise of a line: always the same sequence, so that a failure can be repeated. The top bit is set, as framing
    /// errors leave it.
    fn noise_byte(&mut self) -> u8 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        self.noise.to_le_bytes()[1] | 0x80
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn simulator(id: &str) -> SimulatorCore {
        SimulatorCore::new(Profile::find(id, &[]).unwrap()).unwrap()
    }

    /// Everything it answers to the commands, until it has nothing more to say.
    fn talk(core: &mut SimulatorCore, commands: &[&[u8]]) -> Vec<u8> {
        let mut now = Instant::now();
        let mut answer = Vec::new();
        for command in commands {
            core.push(command, now);
            while let Some(deadline) = core.next_deadline() {
                now = now.max(deadline);
                while let Some(output) = core.next_output(now) {
                    match output {
                        Output::Bytes(bytes) => answer.extend(bytes),
                        Output::Unplug => answer.extend(b"<unplug>"),
                    }
                }
            }
        }
        answer
    }

    #[test]
    fn commands_without_an_end_are_told_apart() {
        let mut korad = simulator("korad.ka3005p");
        assert_eq!(talk(&mut korad, &[b"*IDN?"]), b"KORADKA3005PV2.0\x01");
        assert_eq!(talk(&mut korad, &[b"VSET1:03.30", b"VSET1?"]), b"03.30");
        assert_eq!(talk(&mut korad, &[b"OUT1VOUT1?STATUS?"]), b"03.30Q");
        assert_eq!(talk(&mut korad, &[b"ISET1:0.100VOUT1?IOUT1?STATUS?"]), b"01.000.100P");
        assert_eq!(talk(&mut korad, &[b"NONSENSE"]), b"");
        assert_eq!(talk(&mut korad, &[b"VOUT1?"]), b"01.00");
    }

    #[test]
    fn lines_are_answered_with_lines() {
        let mut meter = simulator("hp.34401a");
        meter.set("v", "-0.5").unwrap();
        assert_eq!(talk(&mut meter, &[b"REA", b"D?\n"]), b"-5.00000000E-01\r\n");
        assert_eq!(
            talk(&mut meter, &[b"BOGUS\nSYST:ERR?\nSYST:ERR?\n"]),
            b"-113,\"Undefined header\"\r\n+0,\"No error\"\r\n"
        );
        assert_eq!(talk(&mut meter, &[b"VOLT:DC:NPLC 0.2\nVOLT:DC:NPLC?\n"]), b"+2.00000000E-01\r\n");
        assert_eq!(meter.get("nplc").as_deref(), Ok("0.2"));
    }

    #[test]
    fn faults_spoil_replies() {
        for (fault, expected) in [
            ("silent", &b""[..]),
            ("late:700ms", b"05.00"),
            ("split:2ms", b"05.00"),
            ("sixth-byte", b"05.00K"),
            ("unplug", b"05<unplug>"),
            ("echo", b"VSET1?05.00"),
        ] {
            let mut korad = simulator("korad.ka3005p");
            korad.set_faults(&[fault.parse().unwrap()]);
            assert_eq!(talk(&mut korad, &[b"VSET1?"]), expected, "{fault}");
        }
        let mut korad = simulator("korad.ka3005p");
        korad.set_faults(&[Fault::Garbage(3)]);
        let answer = talk(&mut korad, &[b"VSET1?"]);
        assert!(answer.len() == 8 && answer.ends_with(b"05.00") && answer[0] >= 0x80, "{answer:?}");
    }

    #[test]
    fn late_replies_keep_their_order() {
        let mut korad = simulator("korad.ka3005p");
        let now = Instant::now();
        korad.set_faults(&[Fault::Late(Duration::from_millis(700))]);
        korad.push(b"VSET1?", now);
        assert_eq!(korad.next_output(now + COMMAND_IDLE), None);
        korad.set_faults(&[]);
        korad.push(b"*IDN?", now + Duration::from_millis(100));
        assert_eq!(korad.next_output(now + Duration::from_millis(500)), None);
        assert_eq!(korad.next_output(now + Duration::from_secs(1)), Some(Output::Bytes(b"05.00".to_vec())));
    }

    #[test]
    fn variables_are_named_in_errors() {
        let mut korad = simulator("korad.ka3005p");
        assert_eq!(korad.set("out", "x"), Err("variable out is a number, \"x\" is none".into()));
        let unknown = "the simulator of korad.ka3005p has no variable v, expected idn, iset, load_ohm, out, vset";
        assert_eq!(korad.get("v"), Err(unknown.into()));
        let image = SimulatorCore::new(Profile::find("eurotherm.2400", &[]).unwrap()).unwrap_err();
        assert_eq!(image, "profile eurotherm.2400: its simulator is a register image, which is not played yet");
    }

    static PROFILES: LazyLock<[Arc<Profile>; 2]> =
        LazyLock::new(|| ["korad.ka3005p", "keysight.34461a"].map(|id| Profile::find(id, &[]).unwrap()));

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
            for profile in PROFILES.iter() {
                let mut core = SimulatorCore::new(Arc::clone(profile)).unwrap();
                let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
                talk(&mut core, &chunks);
            }
        }
    }
}
