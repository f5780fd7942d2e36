//! `demo`: the story of the split, played in a simulated world inside this process.

use dmls::effect::EpochInfo;
use dmls_sim::story::{Claim, Ending, PEOPLE, Said, Scene, Seen, split};
use serde_json::{Map, Value, json};

use super::read::graph_lines;
use crate::args::Demo;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::show;

/// `demo`
pub fn demo(output: &Output, wanted: &Demo) -> Result<(), Failure> {
    let teller = Teller { output };
    let ending = split(wanted.seed, &mut |scene| teller.scene(&scene))?;
    teller.table(&ending)?;
    teller.claims(&ending)
}

struct Teller<'a> {
    output: &'a Output,
}

impl Teller<'_> {
    fn scene(&self, scene: &Scene) -> Result<(), Failure> {
        let paint = self.output.paint;
        match scene {
            Scene::Chapter { title, millis } => {
                let clock = paint.dim(&format!("{:>4} s", millis / 1_000));
                let words = || format!("\n{clock}  {}", paint.bold(title));
                self.output.put(json!({ "chapter": title, "millis": millis }), words)
            }
            Scene::Step { words } => self.output.put(json!({ "step": words }), || (*words).to_owned()),
            Scene::Log { name, when, epochs } => self.log(name, when, epochs),
            _ => Ok(()),
        }
    }

    /// The epochs as somebody knows them.
    fn log(&self, name: &str, when: &str, epochs: &[EpochInfo]) -> Result<(), Failure> {
        let paint = self.output.paint;
        if self.output.json {
            let log: Vec<_> = epochs.iter().map(show::epoch).collect();
            return self.output.put(json!({ "log": log, "of": name, "when": when }), String::new);
        }
        self.output.words(&paint.dim(&format!("\n{name}$ dmls log tea --graph    # {when}")))?;
        graph_lines(epochs, paint).iter().try_for_each(|line| self.output.words(line))?;
        self.output.words("")
    }

    /// What each person's device shows of each message.
    fn table(&self, ending: &Ending) -> Result<(), Failure> {
        let paint = self.output.paint;
        self.output.words(&format!("\n        {}", paint.bold("Who read what")))?;
        let names: String = PEOPLE.iter().map(|name| format!("{name:>7}")).collect();
        self.output.words(&paint.bold(&format!("{:<28}{names}", "message")))?;
        for (said, seen) in &ending.said {
            self.output.put(row(said, seen), || self.row_words(said, seen))?;
        }
        self.output.words("\nreads: decrypted · early: before_join, sent before this device was added · fork: not_in_epoch, sent on a")?;
        self.output.words("fork that this device was not in · gone: removed · else the code itself · blank: the server does not show it")
    }

    fn row_words(&self, said: &Said, seen: &[Seen]) -> String {
        let paint = self.output.paint;
        let cell = |seen: &Seen| match seen {
            Seen::Read => paint.green(&format!("{:>7}", "reads")),
            Seen::Unread(code) => paint.yellow(&format!("{:>7}", sign(code))),
            Seen::Nothing => format!("{:>7}", ""),
        };
        let cells: String = seen.iter().map(cell).collect();
        format!("{:<28}{cells}", said.body).trim_end().to_owned()
    }

    fn claims(&self, ending: &Ending) -> Result<(), Failure> {
        self.output.words(&format!("\n        {}", self.output.paint.bold("What was promised")))?;
        for claim in &ending.claims {
            let object = json!({
                "claim": claim.claim, "holds": claim.holds(), "seen": claim.seen, "against": claim.against,
            });
            self.output.put(object, || self.claim_words(claim))?;
        }
        self.end(ending)
    }

    fn claim_words(&self, claim: &Claim) -> String {
        let paint = self.output.paint;
        let word = if claim.holds() { paint.green("holds") } else { paint.red("FAILS") };
        let against: String = claim.against.iter().map(|line| format!("\n         {line}")).collect();
        format!("{word}  {} ({}){against}", claim.claim, claim.seen)
    }

    fn end(&self, ending: &Ending) -> Result<(), Failure> {
        let digest: String = ending.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let crypto = ending.crypto.word();
        let words = || {
            let text = format!(
                "\n{} virtual seconds, {crypto} cryptography; everything published: {digest}",
                ending.millis / 1_000
            );
            self.output.paint.dim(&text)
        };
        self.output.put(json!({ "millis": ending.millis, "crypto": crypto, "digest": digest }), words)?;
        let broken = ending.claims.iter().filter(|claim| !claim.holds()).count();
        if broken > 0 {
            return Err(Failure::new(Exit::Failure, "claim_failed", format!("{broken} claims do not hold")));
        }
        Ok(())
    }
}

fn row(said: &Said, seen: &[Seen]) -> Value {
    let word = |seen: &Seen| match seen {
        Seen::Read => json!("reads"),
        Seen::Unread(code) => json!(code),
        Seen::Nothing => Value::Null,
    };
    let seen: Map<_, _> = PEOPLE.iter().zip(seen).map(|(name, seen)| ((*name).to_owned(), word(seen))).collect();
    json!({ "message": said.body, "by": said.by, "when": said.when.words(), "seen": seen })
}

/// A code in at most seven letters.
fn sign(code: &str) -> &str {
    match code {
        "before_join" => "early",
        "not_in_epoch" => "fork",
        "removed" => "gone",
        other => other,
    }
}
