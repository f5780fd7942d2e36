//! HPKE through the provider's own functions.

use super::Seeded;
use crate::entropy::EntropyError;
use crate::mls::provider::seal::{SealError, derive_key_pair};
use crate::mls::provider::{hpke_open, hpke_psk_open, hpke_psk_seal, hpke_seal};

const PSK: [u8; 32] = [5; 32];

#[test]
fn base_mode_opens_with_equal_inputs_only() {
    let (private, public) = derive_key_pair(&[1; 32]);
    let (other, _) = derive_key_pair(&[2; 32]);
    let (enc, sealed) = hpke_seal(&mut Seeded::new("seal"), &public, b"info", b"aad", b"text").unwrap();
    assert_eq!(hpke_open(&private, &enc, &sealed, b"info", b"aad").unwrap().as_slice(), b"text");
    for (key, info, aad) in [(&other, "info", "aad"), (&private, "inf0", "aad"), (&private, "info", "aae")] {
        assert_eq!(hpke_open(key, &enc, &sealed, info.as_bytes(), aad.as_bytes()), Err(SealError::Open));
    }
}

#[test]
fn psk_mode_opens_with_equal_inputs_only() {
    let (private, public) = derive_key_pair(&[1; 32]);
    let (enc, sealed) =
        hpke_psk_seal(&mut Seeded::new("seal"), &public, b"info", b"aad", &PSK, b"id", b"text").unwrap();
    let open = |psk: &[u8], id: &[u8]| hpke_psk_open(&private, &enc, &sealed, b"info", b"aad", psk, id);
    assert_eq!(open(&PSK, b"id").unwrap().as_slice(), b"text");
    assert_eq!(open(&[6; 32], b"id"), Err(SealError::Open));
    assert_eq!(open(&PSK, b"ie"), Err(SealError::Open));
    assert_eq!(open(&PSK[..31], b"id"), Err(SealError::Key), "a PSK of less than 32 bytes");
    assert_eq!(open(&PSK, b""), Err(SealError::Key), "no id");
    assert_eq!(hpke_open(&private, &enc, &sealed, b"info", b"aad"), Err(SealError::Open), "another mode");
}

#[test]
fn seals_are_a_function_of_the_callers_randomness() {
    let (_, public) = derive_key_pair(&[1; 32]);
    let seal = |seed| hpke_seal(&mut Seeded::new(seed), &public, b"", b"", b"text").unwrap();
    assert_eq!(seal("a"), seal("a"));
    assert_ne!(seal("a").0, seal("b").0);
}

#[test]
fn no_randomness_is_an_error() {
    let (_, public) = derive_key_pair(&[1; 32]);
    let sealed = hpke_seal(&mut Seeded::failing_after("", 0), &public, b"", b"", b"text");
    assert_eq!(sealed, Err(SealError::Entropy(EntropyError)));
}

/// RFC 9180 §7.1.4: an all-zero Diffie-Hellman result aborts.
#[test]
fn low_order_keys_are_refused() {
    let (private, _) = derive_key_pair(&[1; 32]);
    let mut one = [0; 32];
    one[0] = 1;
    for point in [[0; 32], one] {
        assert_eq!(hpke_seal(&mut Seeded::new(""), &point, b"", b"", b"text"), Err(SealError::Key));
        assert_eq!(hpke_open(&private, &point, &[0; 32], b"", b""), Err(SealError::Key));
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let (private, public) = derive_key_pair(&[1; 32]);
    let (enc, sealed) = hpke_seal(&mut Seeded::new(""), &public, b"", b"", b"text").unwrap();
    for length in 0..32 {
        assert_eq!(hpke_seal(&mut Seeded::new(""), &public[..length], b"", b"", b""), Err(SealError::Key));
        assert_eq!(hpke_open(&private[..length], &enc, &sealed, b"", b""), Err(SealError::Key));
        assert_eq!(hpke_open(&private, &enc[..length], &sealed, b"", b""), Err(SealError::Key));
    }
    for length in 0..sealed.len() {
        assert_eq!(hpke_open(&private, &enc, &sealed[..length], b"", b""), Err(SealError::Open));
    }
}

/// RFC 9180 A.1.1, A.1.2 (first encryption of each): base and PSK mode of this suite.
#[test]
fn rfc_9180_open() {
    let hex = |text: &str| super::unhex(text).unwrap();
    let (info, aad) = (hex("4f6465206f6e2061204772656369616e2055726e"), hex("436f756e742d30"));
    let text = hex("4265617574792069732074727574682c20747275746820626561757479");
    let (base, _) = derive_key_pair(&hex("6db9df30aa07dd42ee5e8181afdb977e538f5e1fec8a06223f33f7013e525037"));
    let enc = hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
    let sealed = hex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a");
    assert_eq!(*hpke_open(&base, &enc, &sealed, &info, &aad).unwrap(), text);

    let (psk_mode, _) = derive_key_pair(&hex("d4a09d09f575fef425905d2ab396c1449141463f698f8efdb7accfaff8995098"));
    let psk = hex("0247fd33b913760fa1fa51e1892d9f307fbe65eb171e8132c2af18555a738b82");
    let psk_id = hex("456e6e796e20447572696e206172616e204d6f726961");
    let enc = hex("0ad0950d9fb9588e59690b74f1237ecdf1d775cd60be2eca57af5a4b0471c91b");
    let sealed = hex("e52c6fed7f758d0cf7145689f21bc1be6ec9ea097fef4e959440012f4feb73fb611b946199e681f4cfc34db8ea");
    assert_eq!(*hpke_psk_open(&psk_mode, &enc, &sealed, &info, &aad, &psk, &psk_id).unwrap(), text);
}
