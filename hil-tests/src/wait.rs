//! Waiting for a condition with a deadline that says what is missing. The only place that pauses; knows nothing of Rigwire.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a test waits for what takes a second on a quiet machine. Other work may take most of it.
pub const PATIENCE: Duration = Duration::from_secs(40);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks again and again until the condition has a value. The last thing the condition said ends up in the error.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<T, String>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let missing = match condition() {
            Ok(value) => return Ok(value),
            Err(missing) => missing,
        };
        if Instant::now() >= deadline {
            bail!("waited {limit:?} for {what}: {missing}");
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Lets time pass, for tests whose subject is a moment chosen at random. Never to wait for something.
pub fn for_a_while(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_says_what_was_missing_last() {
        let mut asked = 0;
        let error = until::<()>("tea", Duration::from_millis(50), || {
            asked += 1;
            Err(format!("{asked} cups"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), format!("waited 50ms for tea: {asked} cups"));
        assert!(asked > 1);
        assert_eq!(until("tea", Duration::ZERO, || Ok(7)).unwrap(), 7);
    }
}
