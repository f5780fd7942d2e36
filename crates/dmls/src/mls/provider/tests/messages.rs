//! messages: every message of the vectors decodes and encodes to the same bytes.

use openmls::framing::{MlsMessageIn, MlsMessageOut};
use openmls::messages::proposals::{ExternalInitProposal, PreSharedKeyProposal, RemoveProposal};
use openmls::messages::proposals_in::{AddProposalIn, UpdateProposalIn};
use openmls::treesync::RatchetTreeIn;
use tls_codec::{Deserialize, Serialize};

use super::{Hex, vectors};

/// An `MLSMessage`, complete.
pub(super) fn message(bytes: &[u8]) -> MlsMessageIn {
    MlsMessageIn::tls_deserialize_exact(bytes).unwrap()
}

/// What a peer decodes of what is sent.
pub(super) fn sent(message: &MlsMessageOut) -> MlsMessageIn {
    self::message(&message.tls_serialize_detached().unwrap())
}

/// Four are not here. OpenMLS keeps the types of `group_secrets` and `commit` to itself; they are inside the Welcomes
/// and PublicMessages that are here, and inside the passive clients. `re_init_proposal` and
/// `group_context_extensions_proposal` hold a ratchet_tree, which OpenMLS rightly refuses to decode in a group context.
#[derive(serde::Deserialize)]
struct Messages {
    mls_welcome: Hex,
    mls_group_info: Hex,
    mls_key_package: Hex,
    public_message_application: Hex,
    public_message_proposal: Hex,
    public_message_commit: Hex,
    private_message: Hex,
    ratchet_tree: Hex,
    add_proposal: Hex,
    update_proposal: Hex,
    remove_proposal: Hex,
    pre_shared_key_proposal: Hex,
    external_init_proposal: Hex,
}

fn round_trip<T: Serialize + Deserialize>(bytes: &Hex) {
    let decoded = T::tls_deserialize_exact(&bytes.0).unwrap();
    assert_eq!(decoded.tls_serialize_detached().unwrap(), bytes.0);
    assert!(T::tls_deserialize_exact([&bytes.0[..], &[0]].concat()).is_err(), "a byte too many");
    assert!(T::tls_deserialize_exact(&bytes.0[..bytes.0.len() - 1]).is_err(), "a byte too few");
}

#[test]
fn messages() {
    for v in vectors::<Messages>("messages.json").unwrap_or_default() {
        for bytes in [
            &v.mls_welcome,
            &v.mls_group_info,
            &v.mls_key_package,
            &v.public_message_application,
            &v.public_message_proposal,
            &v.public_message_commit,
            &v.private_message,
        ] {
            round_trip::<MlsMessageIn>(bytes);
        }
        round_trip::<RatchetTreeIn>(&v.ratchet_tree);
        round_trip::<AddProposalIn>(&v.add_proposal);
        round_trip::<UpdateProposalIn>(&v.update_proposal);
        round_trip::<RemoveProposal>(&v.remove_proposal);
        round_trip::<PreSharedKeyProposal>(&v.pre_shared_key_proposal);
        round_trip::<ExternalInitProposal>(&v.external_init_proposal);
    }
}
