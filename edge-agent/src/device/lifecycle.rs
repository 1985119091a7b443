//! Where a device stands, and what each happening makes of that. A pure core: no driver, no clock, no task.

use std::time::Duration;

use rigwire_shared::agent::{DeviceState, Identity};

/// One thing that the device task saw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Happening {
    /// Nothing is plugged in there.
    Missing(String),
    /// It is there and cannot be used until someone acts.
    Unusable(String),
    Opened,
    Identifying,
    /// It did not say what it is; it may be switched off.
    Unidentified(String),
    WrongDevice(String),
    Identified(Identity),
    /// No answer so many times that its readings are no longer believed.
    WentSilent(String),
    AnswersAgain,
    StepBegan(&'static str),
    StepEnded,
    Ended(String),
}

impl Happening {
    /// What an operator follows. The others come and go with every step and every replug, and the hub's record has them all.
    pub(super) fn is_notable(&self) -> bool {
        match self {
            Self::Opened | Self::Identifying | Self::StepBegan(_) | Self::StepEnded => false,
            Self::Missing(_)
            | Self::Unusable(_)
            | Self::Unidentified(_)
            | Self::WrongDevice(_)
            | Self::Identified(_)
            | Self::WentSilent(_)
            | Self::AnswersAgain
            | Self::Ended(_) => true,
        }
    }
}

/// What the task does about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reaction {
    /// State, cause or identity are new: tell the hub.
    pub(crate) changed: bool,
    /// How long to wait before trying again.
    pub(crate) retry: Duration,
}

#[derive(Debug)]
pub(crate) struct Lifecycle {
    state: DeviceState,
    cause: String,
    identity: Option<Identity>,
    failures: u32,
    /// The last connection came to nothing: the next attempts are no news until one ends differently.
    quiet: bool,
}

const RETRY_FIRST: Duration = Duration::from_millis(250);
/// A replugged device gives its first reading within three seconds, so looking may not take longer than this.
const RETRY_MISSING_MAX: Duration = Duration::from_secs(2);
const RETRY_UNIDENTIFIED_MAX: Duration = Duration::from_secs(5);
const RETRY_UNUSABLE: Duration = Duration::from_secs(2);
/// Somebody has to swap the instrument first; a new device node is noticed sooner.
const RETRY_WRONG: Duration = Duration::from_secs(10);

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            state: DeviceState::Absent,
            cause: "not looked for yet".to_owned(),
            identity: None,
            failures: 0,
            quiet: false,
        }
    }

    pub(crate) fn state(&self) -> DeviceState {
        self.state
    }

    pub(crate) fn cause(&self) -> &str {
        &self.cause
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(crate) fn handle(&mut self, happening: Happening) -> Reaction {
        use DeviceState as State;
        match happening {
            // What was here once and left stays gone, with the cause it left for, rather than absent.
            Happening::Missing(_) if self.state == State::Gone => self.retry(false, RETRY_MISSING_MAX),
            Happening::Missing(cause) => {
                let changed = self.become_state(State::Absent, cause);
                self.retry(changed, RETRY_MISSING_MAX)
            }
            Happening::Unusable(cause) => {
                self.quiet = false;
                Reaction { changed: self.become_state(State::Error, cause), retry: RETRY_UNUSABLE }
            }
            Happening::Opened | Happening::Identifying if self.quiet => self.nothing(),
            Happening::Opened => {
                self.failures = 0;
                self.changed(State::Opening, "opened".to_owned())
            }
            // Asking again is no news while the last answer stands.
            Happening::Identifying if self.state == State::Identifying => self.nothing(),
            Happening::Identifying => self.changed(State::Identifying, "asking what it is".to_owned()),
            Happening::Unidentified(cause) => {
                self.quiet = false;
                let changed = self.become_state(State::Identifying, cause);
                self.retry(changed, RETRY_UNIDENTIFIED_MAX)
            }
            Happening::WrongDevice(cause) => {
                self.quiet = true;
                Reaction { changed: self.become_state(State::Error, cause), retry: RETRY_WRONG }
            }
            Happening::Identified(identity) => {
                self.failures = 0;
                self.quiet = false;
                self.identity = Some(identity);
                self.become_state(State::Online, "identified".to_owned());
                Reaction { changed: true, retry: Duration::ZERO }
            }
            Happening::WentSilent(cause) => self.changed(self.state, cause),
            Happening::AnswersAgain => self.changed(self.state, "answers again".to_owned()),
            Happening::StepBegan(module) => self.changed(State::Busy, module.to_owned()),
            Happening::StepEnded => self.changed(State::Online, "idle".to_owned()),
            Happening::Ended(cause) => {
                self.quiet = !self.state.is_present();
                if !self.quiet {
                    self.failures = 0;
                }
                let changed = self.become_state(State::Gone, cause);
                self.retry(changed, RETRY_MISSING_MAX)
            }
        }
    }

    fn become_state(&mut self, state: DeviceState, cause: String) -> bool {
        let changed = self.state != state || self.cause != cause;
        self.state = state;
        self.cause = cause;
        changed
    }

    fn changed(&mut self, state: DeviceState, cause: String) -> Reaction {
        Reaction { changed: self.become_state(state, cause), retry: Duration::ZERO }
    }

    fn nothing(&self) -> Reaction {
        Reaction { changed: false, retry: Duration::ZERO }
    }

    fn retry(&mut self, changed: bool, limit: Duration) -> Reaction {
        let retry = RETRY_FIRST.saturating_mul(1 << self.failures.min(8)).min(limit);
        self.failures = self.failures.saturating_add(1);
        Reaction { changed, retry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { model: "34461A".into(), ..Identity::default() }
    }

    #[test]
    fn each_happening_has_its_state_and_is_told_once() {
        let mut lifecycle = Lifecycle::new();
        for (happening, state, changed, retry_ms) in [
            (Happening::Missing("no /dev/a".into()), DeviceState::Absent, true, 250),
            (Happening::Missing("no /dev/a".into()), DeviceState::Absent, false, 500),
            (Happening::Missing("no /dev/a".into()), DeviceState::Absent, false, 1000),
            (Happening::Missing("no /dev/a".into()), DeviceState::Absent, false, 2000),
            (Happening::Missing("no /dev/a".into()), DeviceState::Absent, false, 2000),
            (Happening::Unusable("held by x".into()), DeviceState::Error, true, 2000),
            (Happening::Unusable("held by x".into()), DeviceState::Error, false, 2000),
            (Happening::Opened, DeviceState::Opening, true, 0),
            (Happening::Identifying, DeviceState::Identifying, true, 0),
            (Happening::Unidentified("no answer".into()), DeviceState::Identifying, true, 250),
            (Happening::Identifying, DeviceState::Identifying, false, 0),
            (Happening::Unidentified("no answer".into()), DeviceState::Identifying, false, 500),
            (Happening::WrongDevice("a printer".into()), DeviceState::Error, true, 10_000),
            (Happening::Opened, DeviceState::Error, false, 0),
            (Happening::Identifying, DeviceState::Error, false, 0),
            (Happening::WrongDevice("a printer".into()), DeviceState::Error, false, 10_000),
            (Happening::Opened, DeviceState::Error, false, 0),
            (Happening::Identifying, DeviceState::Error, false, 0),
            (Happening::Identified(identity()), DeviceState::Online, true, 0),
            (Happening::StepBegan("instrument.read"), DeviceState::Busy, true, 0),
            (Happening::WentSilent("no answer".into()), DeviceState::Busy, true, 0),
            (Happening::AnswersAgain, DeviceState::Busy, true, 0),
            (Happening::StepEnded, DeviceState::Online, true, 0),
            (Happening::Ended("read returned nothing".into()), DeviceState::Gone, true, 250),
            (Happening::Missing("no /dev/a".into()), DeviceState::Gone, false, 500),
            (Happening::Opened, DeviceState::Opening, true, 0),
            (Happening::Identifying, DeviceState::Identifying, true, 0),
            (Happening::Ended("closed".into()), DeviceState::Gone, true, 250),
            (Happening::Opened, DeviceState::Gone, false, 0),
            (Happening::Identifying, DeviceState::Gone, false, 0),
            (Happening::Ended("closed".into()), DeviceState::Gone, false, 500),
        ] {
            let name = format!("{happening:?}");
            let reaction = lifecycle.handle(happening);
            assert_eq!(lifecycle.state(), state, "{name}");
            assert_eq!(reaction, Reaction { changed, retry: Duration::from_millis(retry_ms) }, "{name}");
        }
    }

    #[test]
    fn what_left_is_gone_for_the_cause_it_left_for() {
        let mut lifecycle = Lifecycle::new();
        lifecycle.handle(Happening::Identified(identity()));
        lifecycle.handle(Happening::Ended("unplugged".into()));
        lifecycle.handle(Happening::Missing("no /dev/a".into()));
        assert_eq!((lifecycle.cause(), lifecycle.identity()), ("unplugged", Some(&identity())));
    }
}
