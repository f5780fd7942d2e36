//! crypto-basics, deserialization, key-schedule, psk_secret, secret-tree, transcript-hashes, welcome.

use super::client::pair;
use super::given::{hex, list, number, secret, text, vectors};
use crate::mls::commit::interim_hash;
use crate::mls::crypto::{self, AeadKey, Expander, derive, expand, extract, hash, mac_holds};
use crate::mls::package::Package;
use crate::mls::ratchets::{Ratchets, following, step};
use crate::mls::schedule::{Joiner, psk_secret};
use crate::mls::wire::{
    FramedContent, GroupContext, GroupInfo, GroupSecrets, HpkeCiphertext, PreSharedKeyId, PskKind, Welcome, WireFormat,
    body, decode, encode, next, push_vector,
};
use crate::secret::Secret;
use crate::suite::X25519_ED25519;

#[test]
fn crypto_basics() {
    for vector in vectors("crypto-basics") {
        let case = &vector["ref_hash"];
        assert_eq!(crypto::ref_hash(text(case, "label"), &hex(case, "value"))[..], hex(case, "out")[..]);
        let case = &vector["expand_with_label"];
        let mut out = vec![0; number(case, "length") as usize];
        Expander::new(&secret(case, "secret")).expand_into(text(case, "label"), &hex(case, "context"), &mut out);
        assert_eq!(out, hex(case, "out"));
        let case = &vector["derive_secret"];
        assert_eq!(derive(&secret(case, "secret"), text(case, "label")), secret(case, "out"));
        let case = &vector["derive_tree_secret"];
        let generation = (number(case, "generation") as u32).to_be_bytes();
        assert_eq!(expand(&secret(case, "secret"), text(case, "label"), &generation), secret(case, "out"));
        let case = &vector["sign_with_label"];
        let (label, content, signature) = (text(case, "label"), hex(case, "content"), hex(case, "signature"));
        let key = hex(case, "pub").try_into().unwrap();
        crypto::verify(X25519_ED25519, &key, label, &content, &signature).unwrap();
        let signer = X25519_ED25519.signer(&hex(case, "priv").try_into().unwrap());
        assert_eq!(crypto::sign(&*signer, label, &content)[..], signature[..]);
        let case = &vector["encrypt_with_label"];
        let (kem_output, ciphertext) = (hex(case, "kem_output").into(), hex(case, "ciphertext").into());
        let sealed = HpkeCiphertext { kem_output, ciphertext };
        let private = secret(case, "priv");
        let opened = crypto::open(X25519_ED25519, &private, text(case, "label"), &hex(case, "context"), &sealed);
        assert_eq!(**opened.unwrap(), hex(case, "plaintext"));
    }
}

#[test]
fn deserialization() {
    for vector in vectors("deserialization") {
        let length = number(&vector, "length") as usize;
        let mut out = Vec::new();
        push_vector(&mut out, &vec![0; length]);
        assert_eq!(out[..out.len() - length], hex(&vector, "vlbytes_header")[..]);
    }
}

#[test]
fn key_schedule() {
    for vector in vectors("key-schedule") {
        let mut init = secret(&vector, "initial_init_secret");
        for epoch in list(&vector, "epochs") {
            let context = hex(epoch, "group_context");
            let parsed: GroupContext = decode(&context).unwrap();
            assert_eq!(*parsed.tree_hash.as_slice(), hex(epoch, "tree_hash")[..]);
            let joiner = Joiner::new(&init, &secret(epoch, "commit_secret"), &context);
            assert_eq!(joiner.0, secret(epoch, "joiner_secret"));
            let member = joiner.with_psk(&secret(epoch, "psk_secret"));
            assert!(member.welcome_key() == AeadKey::derive(&secret(epoch, "welcome_secret"), b""));
            let start = member.epoch(&context);
            assert_eq!(start.encryption(), secret(epoch, "encryption_secret"));
            let secrets = start.secrets();
            let kept = [
                ("init_secret", &secrets.init),
                ("sender_data_secret", &secrets.sender_data),
                ("external_secret", &secrets.external),
                ("membership_key", &secrets.membership),
            ];
            kept.into_iter().for_each(|(name, value)| assert_eq!(*value, secret(epoch, name), "{name}"));
            let never_kept = [
                ("exporter_secret", "exporter"),
                ("epoch_authenticator", "authentication"),
                ("confirmation_key", "confirm"),
                ("resumption_psk", "resumption"),
            ];
            for (name, label) in never_kept {
                assert_eq!(derive(&start.0, label), secret(epoch, name), "{name}");
            }
            let transcript = hex(epoch, "confirmed_transcript_hash");
            let tag = start.confirmation_tag(&transcript);
            assert!(mac_holds(&secret(epoch, "confirmation_key"), &transcript, &tag));
            assert_eq!(*secrets.external_key(X25519_ED25519).public.as_slice(), hex(epoch, "external_pub")[..]);
            init = secrets.init.clone();
        }
    }
}

#[test]
fn psk_secrets() {
    for vector in vectors("psk_secret") {
        let given = |psk: &serde_json::Value| {
            let kind = PskKind::External { id: hex(psk, "psk_id").into() };
            (PreSharedKeyId { kind, nonce: hex(psk, "psk_nonce").into() }, hex(psk, "psk"))
        };
        let psks: Vec<_> = list(&vector, "psks").iter().map(given).collect();
        let psks: Vec<_> = psks.iter().map(|(id, psk)| (id.clone(), &psk[..])).collect();
        assert_eq!(psk_secret(&psks), secret(&vector, "psk_secret"));
    }
}

/// The product never opens a handshake ratchet; what it would give is looked at here.
#[test]
fn secret_tree() {
    for vector in vectors("secret-tree") {
        let leaves = list(&vector, "leaves");
        let height = leaves.len().next_power_of_two().trailing_zeros();
        let mut ratchets = Ratchets::new(secret(&vector, "encryption_secret"), height);
        let untouched = ratchets.clone();
        for (index, generations) in (0u32..).zip(leaves) {
            for expected in generations.as_array().unwrap() {
                let generation = number(expected, "generation") as u32;
                let turn = ratchets.turn(index, generation).unwrap();
                assert_eq!(turn.key().key[..], hex(expected, "application_key")[..]);
                assert_eq!(turn.key().nonce[..], hex(expected, "application_nonce")[..]);
                ratchets.advance(turn);
                assert!(ratchets.turn(index, generation).is_err(), "a key is used once");
                let (mut secret, _) = untouched.open_leaf(index, "handshake").unwrap();
                (0..generation).for_each(|generation| secret = following(&secret, generation));
                let key = step(&secret, generation).0;
                assert_eq!(key.key[..], hex(expected, "handshake_key")[..]);
                assert_eq!(key.nonce[..], hex(expected, "handshake_nonce")[..]);
            }
        }
        let data = &vector["sender_data"];
        let ciphertext = hex(data, "ciphertext");
        let key = AeadKey::derive(&secret(data, "sender_data_secret"), &ciphertext[..ciphertext.len().min(32)]);
        assert_eq!((key.key.to_vec(), key.nonce.to_vec()), (hex(data, "key"), hex(data, "nonce")));
    }
}

#[test]
fn transcript_hashes() {
    for vector in vectors("transcript-hashes") {
        let bytes = hex(&vector, "authenticated_content");
        let mut rest = &bytes[2..];
        let _: FramedContent = next(&mut rest).unwrap();
        let signed_to = bytes.len() - rest.len();
        let signature: tls_codec::VLBytes = next(&mut rest).unwrap();
        let tag: tls_codec::VLBytes = next(&mut rest).unwrap();
        assert!(rest.is_empty());
        let mut input = hex(&vector, "interim_transcript_hash_before");
        input.extend(&bytes[..signed_to]);
        push_vector(&mut input, signature.as_slice());
        let confirmed = hash(&input);
        assert_eq!(confirmed[..], hex(&vector, "confirmed_transcript_hash_after")[..]);
        if bytes[..2] == [0, 1] {
            let interim = hex(&vector, "interim_transcript_hash_before").try_into().unwrap();
            let ours = crate::mls::commit::confirmed_hash(&interim, &bytes[2..signed_to], signature.as_slice());
            assert_eq!(ours, confirmed);
        }
        assert!(mac_holds(&secret(&vector, "confirmation_key"), &confirmed, tag.as_slice()));
        let interim = interim_hash(&confirmed, tag.as_slice());
        assert_eq!(interim[..], hex(&vector, "interim_transcript_hash_after")[..]);
    }
}

#[test]
fn welcome() {
    for vector in vectors("welcome") {
        let package = Package::read(X25519_ED25519, &hex(&vector, "key_package")).unwrap();
        let bytes = hex(&vector, "welcome");
        let welcome: Welcome = decode(body(&bytes, WireFormat::Welcome).unwrap()).unwrap();
        let own = welcome.secrets.iter().find(|secrets| secrets.new_member.as_slice() == package.reference());
        let info = welcome.encrypted_group_info.as_slice();
        let private = pair(&hex(&vector, "init_priv")).private;
        let sealed = &own.unwrap().encrypted_group_secrets;
        let opened = crypto::open(X25519_ED25519, &private, "Welcome", info, sealed).unwrap();
        let secrets: GroupSecrets = decode(&opened).unwrap();
        let joiner = Joiner(Secret::parse(secrets.joiner_secret.as_slice()).unwrap());
        let member = joiner.with_psk(&psk_secret(&[]));
        let info: GroupInfo = decode(&member.welcome_key().open(X25519_ED25519, b"", info).unwrap()).unwrap();
        let key = hex(&vector, "signer_pub").try_into().unwrap();
        let content = crate::mls::make::info_content(&info);
        crypto::verify(X25519_ED25519, &key, "GroupInfoTBS", &content, info.signature.as_slice()).unwrap();
        let epoch = member.epoch(&encode(&info.context));
        let transcript = info.context.confirmed_transcript_hash.as_slice();
        epoch.check_tag(transcript, info.confirmation_tag.as_slice()).unwrap();
    }
}

/// HKDF-Extract with a PSK's own length is what RFC 9420 §8.4 begins with; ours always have 32 bytes.
#[test]
fn extraction_is_hkdfs() {
    let (salt, ikm) = (Secret::new([1; 32]), Secret::new([2; 32]));
    let expected = hkdf::Hkdf::<sha2::Sha256>::extract(Some(&[1; 32]), &[2; 32]).0;
    assert_eq!(extract(&salt, &ikm).expose()[..], expected[..]);
}
