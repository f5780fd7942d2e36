//! Target `frames`: everything that reads bytes from a room without any secret.

use dmls::device::{Credential, OwnDevice, verify_strict};
use dmls::group::{inspect_commit, inspect_message};
use dmls::id::SignatureKey;

use super::alter;
use super::core::scene;
use super::source::Source;

/// Reads frames, signed bookkeeping and credentials; what is read is the same when it is read again.
pub fn target(bytes: &[u8]) {
    let (scene, mut source) = (scene(), Source::new(bytes));
    let what = source.byte();
    let real = match what % 3 {
        0 => scene.wire.clone(),
        1 => [scene.packages.clone(), vec![scene.group_info.0.clone(), scene.welcome.bytes.clone()]].concat(),
        _ => vec![scene.bob.own.to_record().to_vec(), scene.erin.own.to_record().to_vec()],
    };
    let bytes = alter::bytes(&mut source, &real);
    assert_eq!(inspect_commit(&bytes), inspect_commit(&bytes));
    assert_eq!(inspect_message(&bytes), inspect_message(&bytes));
    assert!(inspect_commit(&bytes).is_err() || inspect_message(&bytes).is_err(), "both a commit and a message");
    let _refused = Credential::parse(&bytes, &scene.erin.own.key());
    let _refused = OwnDevice::from_record(&bytes);
    if let (Some(key), Some(signature)) = (bytes.first_chunk::<32>(), bytes.last_chunk::<64>()) {
        let _refused = verify_strict(key, &bytes, signature);
        let _refused = Credential::parse(&bytes, &SignatureKey(*key));
    }
}
