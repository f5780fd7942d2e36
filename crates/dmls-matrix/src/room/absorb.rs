//! What follows from one input of the core, in the same transaction.

use dmls::effect::{Notice, Outcome, Publish, Settled, Verdict};
use dmls::entropy::Entropy;
use dmls::journal::Records;
use zeroize::Zeroizing;

use super::Room;
use super::queue::{AskItem, CommitItem, Item, KeptWelcome, fresh_name};
use crate::error::Error;
use crate::names;
use crate::view::Remark;
use crate::wire::request::{CommitReply, MergeReply};

/// What is left of an outcome once its consequences are records.
pub(crate) struct Absorbed {
    pub(crate) verdict: Verdict,
    /// Inputs that had waited were settled with it: messages were opened, perhaps.
    pub(crate) has_settled: bool,
    pub(crate) remarks: Vec<Remark>,
}

impl Room {
    /// Turns an outcome into records: settled messages, outbox items.
    pub(crate) fn absorb<R: Records>(
        &mut self,
        outcome: Outcome,
        records: &R,
        entropy: &mut dyn Entropy,
    ) -> Result<Absorbed, Error<R::Error>> {
        let Outcome { verdict, settled, notices, publish } = outcome;
        let (mut remarks, has_settled) = (Vec::new(), !settled.is_empty());
        for settled in settled {
            remarks.extend(self.absorb_settled(&settled, records)?);
        }
        for notice in &notices {
            if let Notice::UnknownHeads { .. } = notice {
                self.paging.ask(true);
            }
            remarks.extend(self.remark_notice(notice));
        }
        for publish in publish {
            self.absorb_publish(publish, entropy)?;
        }
        Ok(Absorbed { verdict, has_settled, remarks })
    }

    fn absorb_settled<R: Records>(
        &mut self,
        settled: &Settled,
        records: &R,
    ) -> Result<Option<Remark>, Error<R::Error>> {
        let Settled { locator: Some(locator), verdict } = settled else { return Ok(None) };
        let listed = self.settle_row(records, &locator.0, verdict)?;
        let Verdict::Rejected { reason, who } = verdict else { return Ok(None) };
        if listed {
            return Ok(None);
        }
        let sender = who.as_ref().map(|who| who.user.clone());
        Ok(Some(self.remark(Some(&locator.0), sender.as_deref(), reason.code(), "refused after waiting")))
    }

    fn absorb_publish<E>(&mut self, publish: Publish, entropy: &mut dyn Entropy) -> Result<(), Error<E>> {
        match publish {
            Publish::Commit(commit) => {
                let epoch = commit.epoch.id;
                if let Some(welcome) = KeptWelcome::of(commit.welcomes) {
                    self.keep_welcome(epoch, welcome);
                }
                self.enqueue(Item::Commit(CommitItem {
                    epoch,
                    media: None,
                    txn_id: fresh_name(entropy)?,
                    update: false,
                }));
            }
            Publish::Ask { bytes } => {
                self.enqueue(Item::Ask(AskItem { bytes: bytes.into(), txn_id: fresh_name(entropy)? }));
            }
            Publish::MergeReply { to, epoch, value } => {
                let content = MergeReply { room: self.id.clone(), epoch, value }.json();
                let content = Zeroizing::new(content.to_string());
                self.send_to_device(to, names::merge_reply(), content.to_string(), true, entropy)?;
            }
            Publish::CommitReply { to, commits } => {
                for content in CommitReply::contents(&self.id, &commits) {
                    self.send_to_device(to.clone(), names::commit_reply(), content.to_string(), false, entropy)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A remark about something in this room.
    pub(crate) fn remark(&self, event_id: Option<&str>, sender: Option<&str>, code: &str, text: &str) -> Remark {
        Remark {
            room: Some(self.id.clone()),
            event_id: event_id.map(str::to_owned),
            sender: sender.map(str::to_owned),
            code: code.to_owned(),
            text: text.to_owned(),
        }
    }

    fn remark_notice(&self, notice: &Notice) -> Option<Remark> {
        let (code, sender, text) = match notice {
            Notice::Equivocation { device, epochs: [one, other] } => (
                "equivocation",
                Some(device),
                format!("{device} made two commits, {one} and {other}, where one is allowed"),
            ),
            Notice::CannotProcess { device, base } => {
                ("cannot_process", Some(device), format!("a commit of {device} on {base} cannot be processed here"))
            }
            Notice::RemovedHere { epoch } => {
                ("removed_here", None, format!("this device was removed in epoch {epoch}"))
            }
            Notice::Clone { epoch } => {
                ("clone", None, format!("this device's own leaf did something in {epoch} that this device did not do"))
            }
            Notice::Asked { device } if device == self.group.device() => {
                ("clone", None, "a copy of this device asked to be added anew".to_owned())
            }
            Notice::Asked { device } => {
                ("asked", Some(device), format!("{device} cannot follow what was committed, and asks to be added anew"))
            }
            Notice::Returned { device, epoch } => (
                "returned",
                Some(device),
                format!("{device} came back in {epoch} with a new leaf: it could not follow, or somebody has its keys"),
            ),
            Notice::UnknownHeads { device, count } => {
                ("unknown_heads", Some(device), format!("{device} knows {count} heads that are not known here yet"))
            }
            _ => return None,
        };
        Some(self.remark(None, sender.map(|device| device.user.as_str()), code, &text))
    }
}
