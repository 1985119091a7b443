//! A short soak, in which every kind of run and every mishap has its turn. The long one is `hil-tests/soak`.

use std::time::Duration;

use anyhow::Result;
use rigwire_hil_tests::rig::Choice;
use rigwire_hil_tests::soak::round::{SHORT_ROUNDS, SHORT_SEED};
use rigwire_hil_tests::soak::{self, Settings};

#[test]
#[ignore = "needs mosquitto: run ./hil-tests/run"]
fn twenty_rounds_of_runs_and_mishaps_keep_every_promise() -> Result<()> {
    let settings = Settings {
        seed: SHORT_SEED,
        rounds: SHORT_ROUNDS,
        only: None,
        broker: Choice::Mosquitto,
        within: Some(Duration::from_secs(60)),
        slow: None,
        stories: std::env::temp_dir(),
    };
    let summary = soak::run(&settings)?;
    assert_eq!(summary.failed, Vec::<u64>::new(), "rounds failed; what was wrong with each is above");
    assert!(summary.passed > SHORT_ROUNDS / 2, "only {} rounds within {:?}", summary.passed, settings.within);
    Ok(())
}
