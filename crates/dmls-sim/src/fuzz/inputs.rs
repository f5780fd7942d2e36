//! Target `inputs`: a member takes in what happened, altered, in any order, more than once, with restarts between.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use dmls::effect::{Applied, Verdict};
use dmls::id::{Device, EpochId, Locator, Timestamp};
use dmls::input::Input;

use super::alter;
use super::core::{Live, NOW, scene};
use super::joins::ExpectFact;
use super::source::Source;

/// So many steps are one run.
const STEPS: usize = 24;

/// Every input gets a verdict; nothing that was altered counts or blames anybody; what is refused changes nothing; no
/// message is opened twice; a restart finds what was there. As long as only commits and messages were altered, what
/// really happened then leads where it leads without them.
pub fn target(bytes: &[u8]) {
    let (mut source, mut now) = (Source::new(bytes), NOW);
    let mut bob = scene().bob.load();
    let (mut opened, mut only_wire) = (BTreeSet::new(), true);
    for _ in 0..STEPS {
        if source.is_empty() {
            break;
        }
        match source.byte() % 16 {
            0..8 => {
                let input = real(&mut source);
                take(&mut bob, input, now, &mut opened);
            }
            8..14 => {
                let (input, altered) = altered(&mut source);
                only_wire &= matches!(input, Input::Commit { .. } | Input::Message { .. });
                let verdict = take(&mut bob, input, now, &mut opened);
                let counts = matches!(verdict, Verdict::Applied(Applied::Commit { .. } | Applied::Message(_)));
                let blames = matches!(verdict, Verdict::Rejected { who: Some(_), .. });
                assert!(!(altered && (counts || blames)), "altered bytes count: {verdict:?}");
            }
            14 => restart(&mut bob),
            _ => {
                now = now.plus(1 << (source.byte() % 36));
                only_wire = false;
                take(&mut bob, Input::Tick, now, &mut opened);
            }
        }
    }
    if only_wire {
        let end = all(&mut bob, opened);
        static UNDISTURBED: OnceLock<End> = OnceLock::new();
        assert_eq!(end, *UNDISTURBED.get_or_init(|| all(&mut scene().bob.load(), Opened::new())), "it ends elsewhere");
    }
}

/// Heads, canonical head and opened messages.
type End = (Vec<EpochId>, Option<EpochId>, Opened);

/// Everything that really happened, in its order.
fn all(bob: &mut Live, mut opened: Opened) -> End {
    for input in &scene().inputs {
        take(bob, input.clone(), NOW, &mut opened);
    }
    (bob.group.head_ids(), bob.group.canonical(), opened)
}

fn real(source: &mut Source<'_>) -> Input {
    source.pick(&scene().inputs).cloned().unwrap_or(Input::Tick)
}

/// A real input with something altered, and whether that is what is signed or encrypted.
fn altered(source: &mut Source<'_>) -> (Input, bool) {
    let wire = &scene().wire;
    let users = ["@alice:hs1.test", "@bob:hs1.test", "@carol:hs1.test", "", "@x:y"];
    let user = |source: &mut Source<'_>| source.pick(&users).map(ToString::to_string).unwrap_or_default();
    let place = |source: &mut Source<'_>| Locator(format!("${}", source.byte()));
    let device =
        |user: String| Device { device: user.chars().skip(1).take(5).collect::<String>().to_uppercase(), user };
    match real(source) {
        Input::Commit { locator, .. } => {
            let bytes = alter::bytes(source, wire);
            let altered = !wire.contains(&bytes);
            let locator = if source.byte().is_multiple_of(2) { locator } else { Some(place(source)) };
            (Input::Commit { bytes, locator, from: user(source) }, altered)
        }
        Input::Message { .. } => {
            let bytes = alter::bytes(source, wire);
            let altered = !wire.contains(&bytes);
            let (locator, from) = (place(source), user(source));
            (Input::Message { bytes, locator, from, commit: Some(place(source)) }, altered)
        }
        Input::MergeReply { epoch, value, from } => {
            let mut value = value.to_vec();
            alter::edit(source, &mut value, &[]);
            (Input::MergeReply { epoch, value: value.into(), from }, false)
        }
        Input::Desired(mut desired) => {
            let gone = source.index(desired.devices.len());
            if let Some(device) = desired.devices.keys().nth(gone).cloned() {
                desired.devices.remove(&device);
            }
            (Input::Desired(desired), false)
        }
        Input::Departed { .. } => (Input::Departed { user: user(source), event: place(source) }, false),
        Input::CommitRequest { .. } => {
            let from = device(user(source));
            let epochs = source.chunk().chunks(4).map(|part| EpochId([part.first().copied().unwrap_or(0); 32]));
            (Input::CommitRequest { epochs: epochs.collect(), from }, false)
        }
        _ => (Input::MergeRequest { epoch: EpochId([source.byte(); 32]), from: device(user(source)) }, false),
    }
}

type Opened = BTreeSet<(EpochId, u32, u32)>;

fn take(bob: &mut Live, input: Input, now: Timestamp, opened: &mut Opened) -> Verdict {
    let before = (bob.group.head_ids(), bob.group.canonical());
    let outcome = bob.call(|group, _, entropy| group.handle(input, now, entropy)).expect_fact();
    let verdicts = || outcome.settled.iter().map(|settled| &settled.verdict).chain([&outcome.verdict]);
    for verdict in verdicts() {
        if let Verdict::Applied(Applied::Message(message)) = verdict {
            let fresh = opened.insert((message.epoch, message.leaf.0, message.sequence.0));
            assert!(fresh, "a message is opened twice");
        }
    }
    if verdicts().all(|verdict| matches!(verdict, Verdict::Rejected { .. } | Verdict::Known)) {
        assert_eq!(before, (bob.group.head_ids(), bob.group.canonical()), "what is refused changes the heads");
    }
    outcome.verdict
}

fn restart(bob: &mut Live) {
    let state = |bob: &Live| (bob.group.head_ids(), bob.group.canonical(), bob.group.epochs(), bob.group.readiness());
    let before = state(bob);
    bob.restart();
    assert_eq!(before, state(bob), "a restart finds something else");
}
