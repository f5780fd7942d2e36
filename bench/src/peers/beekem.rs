//! BeeKEM, the group key agreement of Keyhive: concurrent updates merge, messages are somebody else's business.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use beekem::cgka::Cgka;
use beekem::id::{MemberId, TreeId};
use beekem::keys::ShareKeyMap;
use beekem::operation::CgkaOperation;
use future_form::Local;
use keyhive_codec::traits::{Encode, StreamDecode};
use keyhive_crypto::share_key::{ShareKey, ShareSecretKey};
use keyhive_crypto::signer::memory::MemorySigner;
use keyhive_crypto::verified::{Signed, Verified};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::contestant::{Agreed, Contestant, Failure, Made};
use crate::meter::timed;
use crate::roster::{Number, Roster};

type Operation = Verified<CgkaOperation>;

/// A room that BeeKEM keeps.
pub struct BeeKem {
    document: TreeId,
    /// What all devices publish.
    published: Vec<(MemberId, ShareKey)>,
    members: BTreeMap<Number, Member>,
    /// All operations so far, for those who come in.
    log: Vec<u8>,
    rng: StdRng,
}

struct Member {
    id: MemberId,
    signer: MemorySigner,
    keys: ShareKeyMap,
    replica: Option<Cgka>,
}

/// What a future gives that never waits: the keys are here.
fn now<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(given) => Ok(given),
        Poll::Pending => Err("a signer in memory waits".into()),
    }
}

fn encode(operations: &[Operation]) -> Vec<u8> {
    let mut out = Vec::new();
    operations.iter().for_each(|operation| operation.signed().encode_into(&mut out));
    out
}

impl Member {
    fn replica(&mut self) -> Result<&mut Cgka, Failure> {
        self.replica.as_mut().ok_or_else(|| "not in the group".into())
    }

    fn update(&mut self, rng: &mut StdRng) -> Result<Operation, Failure> {
        let secret = ShareSecretKey::generate(rng);
        let replica = self.replica.as_mut().ok_or("not in the group")?;
        let update = replica.update::<Local, _, _>(secret.share_key(), secret, &self.signer, rng);
        Ok(now(update)??.1)
    }

    /// Decodes operations, checks their signatures and merges them.
    fn merge(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        let replica = self.replica()?;
        while !bytes.is_empty() {
            let (signed, rest) = Signed::<CgkaOperation>::decode_next(bytes).map_err(|error| error.to_string())?;
            let verified = signed.verify().map_err(|error| error.to_string())?;
            replica.merge_concurrent_operation(Arc::new(verified))?;
            bytes = rest;
        }
        Ok(())
    }
}

impl BeeKem {
    fn member(&mut self, number: Number) -> Result<&mut Member, Failure> {
        self.members.get_mut(&number).ok_or_else(|| "no actor".into())
    }

    fn made(&mut self, operations: &[Operation]) -> Made {
        let bytes = encode(operations);
        self.log.extend(&bytes);
        Made { bytes, beside: 0 }
    }

    fn update(&mut self, number: Number) -> Result<Operation, Failure> {
        let member = self.members.get_mut(&number).ok_or("no actor")?;
        member.update(&mut self.rng)
    }

    fn add_operations(&mut self, numbers: Range<Number>) -> Result<Vec<Operation>, Failure> {
        let published = self.published.get(numbers.start as usize..numbers.end as usize).unwrap_or_default();
        let document = self.document;
        let creator = self.members.get_mut(&0).ok_or("no creator")?;
        let own = creator.replica.is_none().then(|| self.published.first()).flatten();
        let replica = creator.replica.get_or_insert_with(|| Cgka::new(document, creator.id, creator.keys.clone()));
        let mut operations = Vec::new();
        for (id, key) in own.into_iter().chain(published) {
            let added = replica.add::<Local, _>(*id, *key, None, BTreeSet::new(), &creator.signer);
            operations.extend(now(added)??);
        }
        operations.push(creator.update(&mut self.rng)?);
        Ok(operations)
    }
}

impl Contestant for BeeKem {
    const WHO: &'static str = "beekem";
    const MESSAGES: bool = false;

    fn prepare(roster: Roster) -> Result<Self, Failure> {
        let mut rng = StdRng::seed_from_u64(4);
        let (actors, document) = (roster.actors(), TreeId::from(&MemorySigner::generate(&mut rng).0));
        let (mut published, mut members) = (Vec::new(), BTreeMap::new());
        for number in 0..roster.n {
            let (signer, secret) = (MemorySigner::generate(&mut rng), ShareSecretKey::generate(&mut rng));
            let id = MemberId::from(&signer.0);
            published.push((id, secret.share_key()));
            if actors.contains(&number) {
                let mut keys = ShareKeyMap::new();
                keys.insert(secret.share_key(), secret);
                members.insert(number, Member { id, signer, keys, replica: None });
            }
        }
        Ok(Self { document, published, members, log: Vec::new(), rng })
    }

    fn add(&mut self, numbers: Range<Number>) -> Result<Made, Failure> {
        let operations = self.add_operations(numbers)?;
        Ok(self.made(&operations))
    }

    fn join(&mut self, number: Number) -> Result<(), Failure> {
        let (document, log) = (self.document, std::mem::take(&mut self.log));
        let member = self.member(number)?;
        member.replica = Some(Cgka::new(document, member.id, member.keys.clone()));
        let merged = member.merge(&log);
        self.log = log;
        merged
    }

    /// The creator's replica, with other keys.
    fn appear(&mut self, number: Number) -> Result<(), Failure> {
        let (id, keys) = {
            let member = self.member(number)?;
            (member.id, member.keys.clone())
        };
        let replica = self.member(0)?.replica()?.with_new_owner(id, keys)?;
        self.member(number)?.replica = Some(replica);
        Ok(())
    }

    fn rekey(&mut self, number: Number) -> Result<Made, Failure> {
        let operation = self.update(number)?;
        Ok(self.made(&[operation]))
    }

    /// A removal has no keys of its own: an update follows.
    fn remove(&mut self, number: Number, gone: Number) -> Result<Made, Failure> {
        let (gone, _) = *self.published.get(gone as usize).ok_or("no such device")?;
        let member = self.member(number)?;
        let replica = member.replica.as_mut().ok_or("not in the group")?;
        let removed = now(replica.remove::<Local, _>(gone, BTreeSet::new(), &member.signer))??;
        let removed = removed.ok_or("not a member")?;
        let update = self.update(number)?;
        Ok(self.made(&[removed, update]))
    }

    fn take(&mut self, number: Number, made: &Made) -> Result<(), Failure> {
        self.member(number)?.merge(&made.bytes)
    }

    /// All merge all updates; one more brings them back to one key.
    fn concur(
        &mut self,
        committers: &[Number],
        actors: &BTreeSet<Number>,
        observer: Number,
    ) -> Result<Agreed, Failure> {
        let mut agreed = Agreed { bytes: 0, receive: 0.0 };
        let mut sent = Vec::new();
        for number in committers {
            sent.push((*number, self.rekey(*number)?));
        }
        for at in 0..=sent.len() {
            if at == committers.len() {
                let last = committers.first().copied().ok_or("nobody commits")?;
                sent.push((last, self.rekey(last)?));
            }
            let Some((from, made)) = sent.get(at) else { continue };
            agreed.bytes += made.bytes.len();
            for other in actors.iter().filter(|other| *other != from) {
                let (taken, spent) = timed(|| self.take(*other, made));
                taken?;
                agreed.receive += if *other == observer { spent } else { 0.0 };
            }
        }
        Ok(agreed)
    }

    fn state(&mut self, number: Number) -> Result<Vec<u8>, Failure> {
        let secret = self.member(number)?.replica()?.decrypt_current_group_secret()?;
        Ok(secret.digest().as_slice().to_vec())
    }
}
