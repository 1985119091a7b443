//! The spool against a temporary directory: kill, damage, limit, acknowledgement and a model.

use std::fs;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);

struct Bench {
    directory: tempfile::TempDir,
    limit: u64,
    segment_bytes: u64,
}

impl Bench {
    fn new(limit: u64, segment_bytes: u64) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), limit, segment_bytes }
    }

    fn open(&self) -> (Spool, Damage) {
        open::open(self.directory.path(), self.limit, self.segment_bytes, NOW).unwrap()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "batches"))
            .collect();
        files.sort();
        files
    }
}

fn roomy() -> Bench {
    Bench::new(1 << 20, 1 << 16)
}

fn body(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn drain(spool: &mut Spool) -> Vec<(u64, u64, Vec<u8>)> {
    let mut found: Vec<(u64, u64, Vec<u8>)> = Vec::new();
    let mut previous: Option<Position> = None;
    while let Some(batch) = spool.next_unsent(NOW).unwrap() {
        if !found.is_empty() {
            assert_eq!(batch.previous, previous, "each batch names the one before it");
        }
        previous = Some(batch.position);
        found.push((batch.position.epoch.0, batch.position.number, batch.events));
    }
    found
}

fn gap_of(batch: &[u8]) -> Option<(u64, GapCause)> {
    let events: Vec<AgentEvent> = postcard::from_bytes(batch).unwrap();
    events.first().map(|event| {
        let EventBody::Gap { samples, cause, .. } = &event.body else { panic!("{:?} is no gap", event.body) };
        (*samples, *cause)
    })
}

#[test]
fn batches_are_read_in_order_and_again_after_a_rewind() {
    let bench = roomy();
    let (mut spool, _) = bench.open();
    for text in ["a", "b", "c"] {
        spool.append(Content::Events, &body(text)).unwrap();
    }
    assert_eq!(drain(&mut spool), [(1000, 1, body("a")), (1000, 2, body("b")), (1000, 3, body("c"))]);
    assert_eq!(spool.next_unsent(NOW).unwrap(), None);
    spool.append(Content::Events, &body("d")).unwrap();
    assert_eq!(drain(&mut spool), [(1000, 4, body("d"))]);
    spool.rewind(Some(Position { epoch: Epoch(1000), number: 2 }));
    let third = spool.next_unsent(NOW).unwrap().unwrap();
    assert_eq!((third.position.number, third.previous.unwrap().number), (3, 2));
    spool.rewind(None);
    let first = spool.next_unsent(NOW).unwrap().unwrap();
    assert_eq!((first.position.number, first.previous), (1, None));
}

#[test]
fn a_later_start_has_a_later_epoch_even_when_the_clock_stands_still() {
    let bench = roomy();
    assert_eq!(bench.open().0.epoch(), Epoch(1000));
    let (spool, _) = bench.open();
    assert_eq!((spool.epoch(), spool.previous_epoch()), (Epoch(1001), Some(Epoch(1000))));
}

#[test]
fn two_agents_cannot_share_a_spool() {
    let bench = roomy();
    let (_first, _) = bench.open();
    let error = Spool::open(bench.directory.path(), 1 << 20, NOW).unwrap_err();
    let expected = format!("opening the spool {}: another agent is using it", bench.directory.path().display());
    assert_eq!(format!("{error:#}"), expected);
}

#[test]
fn a_spool_that_was_left_is_free_even_while_a_child_process_has_a_copy_of_its_lock() {
    let bench = roomy();
    let (spool, _) = bench.open();
    let _copy = spool._lock.0.try_clone().unwrap();
    drop(spool);
    bench.open();
}

#[test]
fn a_process_killed_anywhere_in_its_last_write_loses_only_that_batch() {
    let bench = roomy();
    let (mut spool, _) = bench.open();
    for text in ["one", "two", "three"] {
        spool.append(Content::Events, &body(text)).unwrap();
    }
    drop(spool);
    let path = bench.segments().remove(0);
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - record::OVERHEAD - 5;
    for cut in last..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let (mut spool, damage) = bench.open();
        assert_eq!(damage, Damage::default(), "cut at {cut}");
        let texts: Vec<_> = drain(&mut spool).into_iter().map(|(_, _, events)| events).collect();
        assert_eq!(texts, [body("one"), body("two")], "cut at {cut}");
        let position = spool.append(Content::Events, &body("next")).unwrap();
        assert_eq!((position.epoch, position.number), (spool.epoch(), 1));
        assert_eq!(drain(&mut spool).len(), 1);
    }
}

#[test]
fn a_damaged_middle_becomes_a_gap_at_the_same_number() {
    let bench = roomy();
    let (mut spool, _) = bench.open();
    for text in ["one", "two", "three"] {
        spool.append(Content::Events, &body(text)).unwrap();
    }
    drop(spool);
    let path = bench.segments().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let second = record::OVERHEAD + 3;
    bytes[second + record::OVERHEAD] ^= 0x10;
    fs::write(&path, &bytes).unwrap();
    let (mut spool, damage) = bench.open();
    assert_eq!((damage.batches, damage.bytes), (1, (record::OVERHEAD + 3) as u64));
    let found = drain(&mut spool);
    assert_eq!(found.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(gap_of(&found[1].2), Some((0, GapCause::SpoolDamaged)));
    drop(spool);
    assert_eq!(bench.open().1, Damage::default(), "mended for good");
}

#[test]
fn a_lost_segment_becomes_a_gap() {
    let bench = Bench::new(1 << 20, 100);
    let (mut spool, _) = bench.open();
    for text in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"] {
        spool.append(Content::Events, &body(text)).unwrap();
    }
    drop(spool);
    fs::remove_file(&bench.segments()[1]).unwrap();
    let (mut spool, damage) = bench.open();
    let found = drain(&mut spool);
    assert_eq!(found.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    assert_eq!(damage.batches, 3);
}

#[test]
fn acknowledged_segments_are_deleted_and_not_sent_after_a_restart() {
    let bench = Bench::new(1 << 20, 100);
    let (mut spool, _) = bench.open();
    for number in 0..20 {
        spool.append(Content::Samples(1), &body(&format!("{number}"))).unwrap();
    }
    let files = bench.segments().len();
    assert!(spool.acknowledge(Position { epoch: Epoch(1000), number: 15 }).unwrap());
    assert!(bench.segments().len() < files);
    assert!(!spool.acknowledge(Position { epoch: Epoch(1000), number: 21 }).unwrap(), "never written");
    assert!(!spool.acknowledge(Position { epoch: Epoch(2000), number: 1 }).unwrap(), "of a later epoch");
    assert!(spool.acknowledge(Position { epoch: Epoch(999), number: 4 }).unwrap(), "of an older epoch");
    drop(spool);
    let (mut spool, _) = bench.open();
    spool.append(Content::Events, &body("new")).unwrap();
    let found: Vec<_> = drain(&mut spool).into_iter().map(|(epoch, number, _)| (epoch, number)).collect();
    assert_eq!(found, [(1000, 16), (1000, 17), (1000, 18), (1000, 19), (1000, 20), (1001, 1)]);
    assert!(spool.acknowledge(Position { epoch: Epoch(1001), number: 1 }).unwrap());
    assert_eq!((spool.has_unacknowledged(), bench.segments().len()), (false, 1));
}

#[test]
fn an_acknowledged_spool_gives_its_space_back_and_goes_on() {
    let bench = Bench::new(1 << 20, 1 << 20);
    let (mut spool, _) = bench.open();
    let mut last = None;
    for _ in 0..100 {
        last = Some(spool.append(Content::Samples(1), &[7; 1000]).unwrap());
    }
    drain(&mut spool);
    spool.acknowledge(last.unwrap()).unwrap();
    assert_eq!((spool.bytes(), fs::metadata(&bench.segments()[0]).unwrap().len()), (0, 0));
    assert!(spool.take_unsynced().unwrap().is_empty(), "what is acknowledged is not forced to the disk");
    spool.append(Content::Events, &body("next")).unwrap();
    let found = drain(&mut spool);
    assert_eq!(found, [(1000, 101, body("next"))]);
}

#[test]
fn a_full_spool_gives_up_its_oldest_samples_and_never_an_event() {
    let bench = Bench::new(4000, 500);
    let (mut spool, _) = bench.open();
    let mut given_up = 0;
    for number in 0..400_u64 {
        if number % 100 == 50 {
            spool.append(Content::Events, &body("event")).unwrap();
        } else {
            spool.append(Content::Samples(2), &[1; 40]).unwrap();
        }
        if spool.is_over_limit() {
            given_up += spool.make_room().unwrap();
        }
        assert!(spool.bytes() <= 4000 + 600, "{} bytes", spool.bytes());
    }
    assert!(bench.segments().len() < 20, "{:?}", bench.segments());
    for restart in [false, true] {
        if restart {
            drop(spool);
            let (again, damage) = bench.open();
            assert_eq!(damage, Damage::default());
            spool = again;
        }
        spool.rewind(None);
        let found = drain(&mut spool);
        assert_eq!(found.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), (1..=400).collect::<Vec<_>>());
        assert_eq!(found.iter().filter(|(_, _, events)| *events == body("event")).count(), 4);
        let mut samples = 0;
        for (_, _, events) in &found {
            if *events == [1; 40] {
                samples += 2;
            } else if *events != body("event")
                && let Some((count, cause)) = gap_of(events)
            {
                assert_eq!(cause, GapCause::SpoolFull);
                samples += count;
            }
        }
        assert_eq!(samples, 396 * 2, "every sample is there or counted");
        let within = Position { epoch: Epoch(1000), number: 10 };
        spool.rewind(Some(within));
        let next = spool.next_unsent(NOW).unwrap().unwrap();
        assert_eq!((next.position.number, next.previous), (11, Some(within)), "in the midst of what gave way");
    }
    assert!(given_up > 0);
}

#[test]
fn an_interrupted_rewrite_leaves_no_batch_twice() {
    let bench = Bench::new(1 << 20, 100);
    let (mut spool, _) = bench.open();
    for number in 0..8 {
        spool.append(Content::Events, &body(&format!("{number}"))).unwrap();
    }
    drop(spool);
    // As if the first file had been merged into the second and then not deleted.
    let files = bench.segments();
    let merged = [fs::read(&files[0]).unwrap(), fs::read(&files[1]).unwrap()].concat();
    fs::write(&files[1], merged).unwrap();
    let (mut spool, damage) = bench.open();
    assert_eq!(damage, Damage::default());
    let numbers: Vec<_> = drain(&mut spool).into_iter().map(|(_, number, _)| number).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Read,
    Acknowledge(usize),
    Rewind(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..300).prop_map(Step::Append),
        4 => Just(Step::Read),
        2 => (0_usize..64).prop_map(Step::Acknowledge),
        1 => (0_usize..64).prop_map(Step::Rewind),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_was_written_is_read_until_it_is_acknowledged(steps in proptest::collection::vec(step(), 1..60)) {
        let bench = Bench::new(1 << 20, 400);
        let (mut spool, _) = bench.open();
        let mut written: Vec<(Position, Vec<u8>)> = Vec::new();
        let mut acked = 0;
        let mut next = 0;
        for step in steps {
            match step {
                Step::Append(size) => {
                    let events = vec![u8::try_from(size % 251).unwrap(); size];
                    let position = spool.append(Content::Events, &events).unwrap();
                    written.push((position, events));
                }
                Step::Read => {
                    let batch = spool.next_unsent(NOW).unwrap();
                    let expected = written.get(next);
                    prop_assert_eq!(batch.as_ref().map(|batch| (batch.position, &batch.events)), expected.map(|(position, events)| (*position, events)));
                    if let Some(batch) = batch {
                        if let Some(previous) = batch.previous {
                            prop_assert_eq!(Some(previous), next.checked_sub(1).map(|before| written[before].0));
                        } else {
                            prop_assert!(next <= acked);
                        }
                        next += 1;
                    }
                }
                Step::Acknowledge(index) if index < written.len() => {
                    prop_assert!(spool.acknowledge(written[index].0).unwrap());
                    acked = acked.max(index + 1);
                    // An acknowledged batch may be gone: reading goes on behind it.
                    next = next.max(acked);
                    spool.rewind(next.checked_sub(1).map(|before| written[before].0));
                }
                Step::Rewind(index) if (acked..written.len()).contains(&index) => {
                    next = index;
                    spool.rewind(next.checked_sub(1).map(|before| written[before].0));
                }
                Step::Acknowledge(_) | Step::Rewind(_) => {}
                Step::Restart => {
                    spool.save_acknowledged().unwrap();
                    drop(spool);
                    let (again, damage) = bench.open();
                    prop_assert_eq!(damage, Damage::default());
                    spool = again;
                    next = acked;
                }
            }
        }
    }
}
