//! Application messages.

use std::collections::BTreeSet;

use super::{ROOM, Recorded, Scene};
use crate::mls::commit::{CONTENT_LABEL, signed_content};
use crate::mls::crypto::{self, AeadKey};
use crate::mls::message::{content_aad, sender_aad};
use crate::mls::ratchets::{MAX_AHEAD, MAX_SKIPPED, Ratchets, following, step};
use crate::mls::refusal::Feature;
use crate::mls::tests::forge::Bend;
use crate::mls::tests::given::Seeded;
use crate::mls::tests::world::{Chance, Member, SUITE};
use crate::mls::tree::Place;
use crate::mls::wire::{
    APPLICATION, Content, FramedContent, GroupContext, PrivateMessage, Sender, SenderData, WireFormat, body, decode,
    encode, message, push_vector,
};
use crate::mls::{MakeError, Refusal};
use crate::secret::Secret;
use crate::suite::Signer;

/// What is bent of a message of member 0, in the order in which it is made.
#[derive(Clone, Copy)]
struct Talk<'a> {
    generation: u32,
    /// Under whose ratchet.
    leaf: u32,
    ratchet: &'a str,
    framed: &'a dyn Fn(&mut FramedContent),
    signed_in: &'a dyn Fn(&mut GroupContext),
    signer: Option<&'a dyn Signer>,
    /// What is sealed, with its padding.
    content: &'a dyn Fn(&mut Vec<u8>),
    header: &'a dyn Fn(&mut PrivateMessage),
    /// After the content was sealed.
    sealed: &'a dyn Fn(&mut PrivateMessage),
    data: &'a dyn Fn(&mut SenderData),
    sent: &'a dyn Fn(&mut PrivateMessage),
}

impl Talk<'_> {
    fn none() -> Self {
        Self {
            generation: 0,
            leaf: 0,
            ratchet: "application",
            framed: &|_| {},
            signed_in: &|_| {},
            signer: None,
            content: &|_| {},
            header: &|_| {},
            sealed: &|_| {},
            data: &|_| {},
            sent: &|_| {},
        }
    }
}

/// The key of a generation, however far it is.
fn key(ratchets: &Ratchets, leaf: u32, label: &str, generation: u32) -> AeadKey {
    let Ok((mut secret, _)) = ratchets.open_leaf(leaf, label) else { return step(&Secret::new([7; 32]), 0).0 };
    if generation > 5 * MAX_AHEAD {
        return step(&secret, generation).0;
    }
    for before in 0..generation {
        secret = following(&secret, before);
    }
    step(&secret, generation).0
}

fn say(member: &Member, talk: Talk<'_>) -> Vec<u8> {
    let epoch = &member.epoch;
    let mut context = (*epoch.public.context).clone();
    let mut framed = FramedContent {
        group_id: context.group_id.clone(),
        epoch: context.epoch,
        sender: Sender::Member(talk.leaf),
        authenticated_data: b"data"[..].into(),
        content: Content::Application(b"text"[..].into()),
    };
    (talk.framed)(&mut framed);
    (talk.signed_in)(&mut context);
    let signed = signed_content(&encode(&framed), WireFormat::PrivateMessage, &encode(&context));
    let signature = crypto::sign(talk.signer.unwrap_or(member.person.maker().signer), CONTENT_LABEL, &signed);
    let mut content = Vec::new();
    push_vector(&mut content, b"text");
    push_vector(&mut content, &signature);
    content.resize(128, 0);
    (talk.content)(&mut content);
    let mut private = PrivateMessage {
        group_id: epoch.public.context.group_id.clone(),
        epoch: epoch.public.context.epoch,
        content_type: APPLICATION,
        authenticated_data: b"data"[..].into(),
        encrypted_sender_data: Vec::new().into(),
        ciphertext: Vec::new().into(),
    };
    (talk.header)(&mut private);
    let reuse_guard = [1, 2, 3, 4];
    let key = key(&member.ratchets, talk.leaf, talk.ratchet, talk.generation).guarded(reuse_guard);
    private.ciphertext = key.seal(SUITE, &content_aad(&private), content).into();
    (talk.sealed)(&mut private);
    let mut data = SenderData { leaf_index: talk.leaf, generation: talk.generation, reuse_guard };
    (talk.data)(&mut data);
    let key = epoch.sender_data_key(private.ciphertext.as_slice());
    private.encrypted_sender_data = key.seal(SUITE, &sender_aad(&private), encode(&data)).into();
    (talk.sent)(&mut private);
    message(WireFormat::PrivateMessage, &private)
}

impl Scene {
    fn say(&self, talk: Talk<'_>) -> Vec<u8> {
        say(&self.members[0], talk)
    }

    fn listen(&self, bytes: &[u8]) -> Option<Refusal> {
        let reader = &self.members[3];
        let before = reader.ratchets.records();
        let opened = reader.epoch.open_message(&reader.ratchets, bytes);
        assert_eq!(reader.ratchets.records(), before);
        opened.err()
    }

    #[track_caller]
    fn unheard(&self, talk: Talk<'_>, refusal: Refusal) {
        assert_eq!(self.listen(&self.say(Talk::none())), None);
        assert_eq!(self.listen(&self.say(talk)), Some(refusal));
    }
}

/// MLS M23.
#[test]
fn private_handshakes_are_refused() {
    let scene = Scene::new();
    for kind in [2, 3] {
        for ratchet in ["handshake", "application"] {
            let talk = Talk { header: &|header| header.content_type = kind, ratchet, ..Talk::none() };
            scene.unheard(talk, Refusal::Unsupported(Feature::PrivateHandshake));
            let bytes = scene.say(talk);
            assert_eq!(scene.hear(3, &bytes).err(), Some(Refusal::Unsupported(Feature::PrivateHandshake)));
        }
    }
    assert_eq!(scene.hear(3, &scene.say(Talk::none())).err(), Some(Refusal::Kind));
}

/// MLS M24.
#[test]
fn an_unknown_content_type_uses_no_key() {
    let scene = Scene::new();
    for kind in [0, 4, 0xff] {
        let talk = Talk { header: &|header| header.content_type = kind, ..Talk::none() };
        scene.unheard(talk, Refusal::Unsupported(Feature::PrivateHandshake));
    }
}

/// MLS M25.
#[test]
fn a_changed_header_of_a_message_is_refused() {
    let scene = Scene::new();
    let epoch = scene.members[0].epoch.public.context.epoch;
    let other: [(&dyn Fn(&mut PrivateMessage), Refusal); 4] = [
        (&|header| header.group_id = b"moor"[..].into(), Refusal::OtherGroup),
        (&|header| header.epoch = epoch + 1, Refusal::OtherEpoch),
        (&|header| header.content_type = 2, Refusal::Unsupported(Feature::PrivateHandshake)),
        (&|header| header.authenticated_data = b"other"[..].into(), Refusal::Ciphertext),
    ];
    let as_it_was = |header: &mut PrivateMessage| {
        (header.group_id, header.epoch, header.content_type) = (ROOM.into(), epoch, APPLICATION);
        header.authenticated_data = b"data"[..].into();
    };
    for (bend, refusal) in other {
        scene.unheard(Talk { sent: bend, ..Talk::none() }, refusal);
        // The message's own key knows of the header, and so does the key of the sender data.
        scene.unheard(Talk { header: bend, sealed: &as_it_was, ..Talk::none() }, Refusal::Ciphertext);
        if refusal != Refusal::Ciphertext {
            scene.unheard(Talk { sealed: bend, sent: &as_it_was, ..Talk::none() }, Refusal::Ciphertext);
        }
    }
}

/// MLS M26.
#[test]
fn a_message_from_a_blank_leaf_is_refused() {
    let scene = Scene::new();
    for leaf in [5, 7, 8, u32::MAX] {
        scene.unheard(Talk { leaf, ..Talk::none() }, Refusal::NoSuchLeaf);
    }
}

/// MLS M27.
#[test]
fn sender_data_of_another_message_are_refused() {
    let scene = Scene::new();
    // Of one generation: they lead to the same key. Another text is another sample.
    let other = scene.say(Talk { content: &|content| content[1] ^= 1, ..Talk::none() });
    let other: PrivateMessage = decode(body(&other, WireFormat::PrivateMessage).unwrap()).unwrap();
    let swap = |message: &mut PrivateMessage| message.encrypted_sender_data = other.encrypted_sender_data.clone();
    scene.unheard(Talk { sent: &swap, ..Talk::none() }, Refusal::Ciphertext);
    let empty = |message: &mut PrivateMessage| message.encrypted_sender_data = Vec::new().into();
    scene.unheard(Talk { sent: &empty, ..Talk::none() }, Refusal::Ciphertext);
}

/// MLS M28.
#[test]
fn a_message_signed_by_another_member_is_refused() {
    let scene = Scene::new();
    let other = scene.members[1].person.maker();
    scene.unheard(Talk { signer: Some(other.signer), ..Talk::none() }, Refusal::Signature);
    // Another member under this one's ratchet, under its own name, too.
    scene.unheard(Talk { leaf: 1, ..Talk::none() }, Refusal::Signature);
    let sibling = scene.hear(3, &scene.forge(Bend::none()).bytes).unwrap().epoch;
    let of_sibling = |context: &mut GroupContext| context.clone_from(&sibling.public.context);
    scene.unheard(Talk { signed_in: &of_sibling, ..Talk::none() }, Refusal::Signature);
    let data = |framed: &mut FramedContent| framed.authenticated_data = b"other"[..].into();
    scene.unheard(Talk { framed: &data, ..Talk::none() }, Refusal::Signature);
    let text = |framed: &mut FramedContent| framed.content = Content::Application(b"other"[..].into());
    scene.unheard(Talk { framed: &text, ..Talk::none() }, Refusal::Signature);
}

/// MLS M29.
#[test]
fn padding_that_is_not_zero_is_malformed() {
    let scene = Scene::new();
    let first = 1 + 4 + 2 + 64;
    for at in [first, first + 1, 127] {
        scene.unheard(Talk { content: &|content| content[at] = 1, ..Talk::none() }, Refusal::Padding);
    }
    for length in [first, 128, 192, 1000] {
        let talk = Talk { content: &|content| content.resize(length, 0), ..Talk::none() };
        assert_eq!(scene.listen(&scene.say(talk)), None, "any length is right");
    }
}

/// MLS M30.
#[test]
fn a_message_under_ones_own_leaf_moves_nothing() {
    let scene = Scene::new();
    let reader = &scene.members[3];
    for generation in [0, 900] {
        for signer in [scene.members[0].person.maker().signer, reader.person.maker().signer] {
            let talk = Talk { leaf: 3, generation, signer: Some(signer), ..Talk::none() };
            scene.unheard(talk, Refusal::OwnMessage);
        }
    }
    let (turn, bytes) =
        reader.epoch.seal(&reader.ratchets, &reader.person.maker(), b"", b"own", &mut scene.chance()).unwrap();
    assert_eq!(turn.generation(), 0);
    let other = &scene.members[0];
    assert_eq!(*other.epoch.open_message(&other.ratchets, &bytes).unwrap().plaintext, b"own"[..]);
}

/// MLS M31.
#[test]
fn a_message_far_ahead_is_not_derived_to() {
    let scene = Scene::new();
    assert_eq!(scene.listen(&scene.say(Talk { generation: MAX_AHEAD, ..Talk::none() })), None);
    for generation in [MAX_AHEAD + 1, 2 * MAX_AHEAD, u32::MAX - 1, u32::MAX] {
        scene.unheard(Talk { generation, ..Talk::none() }, Refusal::TooFarAhead);
    }
}

/// MLS M32.
#[test]
fn a_used_key_opens_nothing_more() {
    let mut scene = Scene::new();
    let one = scene.say(Talk { generation: 2, ..Talk::none() });
    let padded = |content: &mut Vec<u8>| content.resize(192, 0);
    let other = scene.say(Talk { generation: 2, content: &padded, ..Talk::none() });
    let kept = scene.say(Talk { generation: 1, ..Talk::none() });
    assert_eq!(scene.listen(&other), None);
    for read in [&one, &kept] {
        scene.members[3].open(read);
        assert_eq!(scene.listen(read), Some(Refusal::KeyUsed));
    }
    assert_eq!(scene.listen(&other), Some(Refusal::KeyUsed));
    assert_eq!(scene.listen(&scene.say(Talk { generation: 0, ..Talk::none() })), None);
}

/// MLS M33.
#[test]
fn a_read_message_leaves_no_key_behind() {
    let mut scene = Scene::new();
    let root = scene.members[3].ratchets.clone();
    let text = scene.say(Talk { generation: 3, ..Talk::none() });
    scene.members[3].open(&text);
    let records = scene.members[3].ratchets.records();
    let stored: Vec<&[u8]> = records.iter().filter_map(|(_, value)| value.as_ref().map(|value| &value[..])).collect();
    let holds = |secret: &[u8]| stored.iter().any(|value| value.windows(secret.len()).any(|part| part == secret));
    let (mut secret, _) = root.open_leaf(0, "application").unwrap();
    for generation in 0..=3 {
        assert!(!holds(secret.expose()), "ratchet secret {generation}");
        let key = step(&secret, generation).0;
        assert_eq!(holds(&key.key), generation < 3, "key {generation}");
        assert_eq!(holds(&key.nonce), generation < 3, "nonce {generation}");
        secret = following(&secret, generation);
    }
    assert!(holds(secret.expose()));
    let above: BTreeSet<Place> = (0..=3).map(|height| Place::above(0, height)).collect();
    assert!(scene.members[3].ratchets.nodes.keys().all(|place| !above.contains(place)));
    assert!(!holds(root.nodes[&Place::above(0, 3)].expose()));
    let first = root.open_leaf(0, "handshake").unwrap().0;
    assert!(!holds(first.expose()));
}

/// MLS M34.
#[test]
fn a_message_that_is_not_proven_uses_no_key() {
    let mut scene = Scene::new();
    let other = scene.members[1].person.identity.signer();
    let garbage = |message: &mut PrivateMessage| message.ciphertext = vec![7; 144].into();
    for generation in [0, 5, 500] {
        let talk = Talk { generation, ..Talk::none() };
        // That nothing moves is seen by listening itself.
        assert_eq!(scene.listen(&scene.say(Talk { sealed: &garbage, ..talk })), Some(Refusal::Ciphertext));
        assert_eq!(scene.listen(&scene.say(Talk { signer: Some(&*other), ..talk })), Some(Refusal::Signature));
        assert_eq!(scene.listen(&scene.say(Talk { content: &|it| it[127] = 1, ..talk })), Some(Refusal::Padding));
    }
    for generation in [0, 5, 500] {
        let honest = scene.say(Talk { generation, ..Talk::none() });
        assert_eq!(scene.members[3].open(&honest), (0, b"text".to_vec()));
    }
}

/// MLS M35.
#[test]
fn kept_keys_are_bounded() {
    let mut scene = Scene::new();
    let mut generation = 0;
    for _ in 0..4 {
        generation += MAX_AHEAD;
        let text = scene.say(Talk { generation, ..Talk::none() });
        scene.members[3].open(&text);
        generation += 1;
        assert!(scene.members[3].ratchets.skipped() <= MAX_SKIPPED);
    }
    assert_eq!(scene.members[3].ratchets.skipped(), MAX_SKIPPED);
    assert_eq!(scene.listen(&scene.say(Talk { generation: 1, ..Talk::none() })), Some(Refusal::KeyUsed));
    assert_eq!(scene.listen(&scene.say(Talk { generation: generation - 2, ..Talk::none() })), None);
    // All senders together.
    let mut ratchets = scene.members[3].ratchets.clone();
    for leaf in [1, 2, 4, 5, 6, 7] {
        let turn = ratchets.turn(leaf, MAX_AHEAD).unwrap();
        ratchets.advance(turn);
        assert!(ratchets.skipped() <= 4 * MAX_SKIPPED);
    }
}

/// MLS M36.
#[test]
fn no_generation_is_used_twice() {
    let mut scene = Scene::new();
    let mut chance = scene.chance();
    let mut generations = Vec::new();
    for again in 0..4 {
        let member = &mut scene.members[0];
        let (turn, _lost) =
            member.epoch.seal(&member.ratchets, &member.person.maker(), b"", b"text", &mut chance).unwrap();
        generations.push(turn.generation());
        member.ratchets.advance(turn);
        if again == 1 {
            let records: Vec<_> =
                member.ratchets.records().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            member.ratchets = Ratchets::load(&records).unwrap();
        }
    }
    assert_eq!(generations, [0, 1, 2, 3]);
}

/// MLS M37.
#[test]
fn the_reuse_guard_is_fresh() {
    let scene = Scene::new();
    let (member, maker) = (&scene.members[0], scene.members[0].person.maker());
    let mut entropy = Recorded::new(Chance::new("guard"));
    for _ in 0..2 {
        let (_, bytes) = member.epoch.seal(&member.ratchets, &maker, b"", b"text", &mut entropy).unwrap();
        let private: PrivateMessage = decode(body(&bytes, WireFormat::PrivateMessage).unwrap()).unwrap();
        let key = member.epoch.sender_data_key(private.ciphertext.as_slice());
        let data = key.open(SUITE, &sender_aad(&private), private.encrypted_sender_data.as_slice()).unwrap();
        let data: SenderData = decode(&data).unwrap();
        assert_eq!(entropy.drawn.last().unwrap()[..], data.reuse_guard);
    }
    assert_eq!(entropy.drawn.len(), 2);
    assert_ne!(entropy.drawn[0], entropy.drawn[1]);
    let sealed = member.epoch.seal(&member.ratchets, &maker, b"", b"text", &mut Seeded::failing_after("guard", 0));
    assert!(matches!(sealed.err(), Some(MakeError::Entropy(_))));
}
