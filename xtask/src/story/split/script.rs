//! What the people of the split do.

use super::*;

const HS1: ServerNumber = ServerNumber::HS1;
const HS2: ServerNumber = ServerNumber::HS2;

/// Those who are on both forks.
const TWO_SIDED: [&str; 3] = ["bob", "carol", "dan"];

impl Split {
    /// Brings the people of a new story together in a room; their user names end with `tag`.
    ///
    /// # Errors
    /// As [`Person::run`] and [`Person::sync_until`].
    pub fn meet(program: &Program, servers: &Servers, base: Base, tag: &str) -> Result<Self, Error> {
        let mut cast = vec![
            ("alice", HS1),
            ("bob", HS1),
            ("carol", HS2),
            ("dan", HS2),
            ("erin", HS1),
            ("frank", HS2),
            ("grace", HS2),
        ];
        if base == Base::Hs1 {
            cast.extend([("heidi", HS1), ("ivan", HS1)]);
        }
        let mut people = BTreeMap::new();
        for (name, server) in cast {
            people.insert(name, Person::new(program, servers, server, &format!("{name}{tag}"))?);
        }
        let mut split = Self {
            room: String::new(),
            base,
            people,
            said: Vec::new(),
            thief: None,
            baseline: None,
            first: First(&[]),
            helper_failed: Vec::new(),
        };
        split.gather()?;
        Ok(split)
    }

    /// Alice makes the room; Bob, Carol and Dan join it and are added.
    fn gather(&mut self) -> Result<(), Error> {
        let (alice, others) = (self.person("alice")?, TWO_SIDED.map(|name| self.people.get(name)));
        let others: Vec<&Person> = others.into_iter().flatten().collect();
        let room = alice.create("The split", &others)?;
        for person in &others {
            person.accept(&room, HS1)?;
        }
        for person in &others {
            alice.sync_until_in_head(&room, person.device())?;
        }
        for person in &others {
            person.sync_until_in_head(&room, person.device())?;
        }
        self.room = room;
        Ok(())
    }

    /// All four speak and read each other.
    ///
    /// # Errors
    /// As [`Person::run`] and [`Person::sync_until`].
    pub fn before(&mut self) -> Result<(), Error> {
        self.talk(Step::Before, &["alice", "bob", "carol", "dan"])
    }

    /// On hs1: Alice invites Erin.
    ///
    /// # Errors
    /// As [`Split::before`].
    pub fn erin_comes(&mut self) -> Result<(), Error> {
        self.bring("alice", "erin", HS1)?;
        self.talk(Step::ErinCame, &["alice", "bob", "erin"])
    }

    /// On hs1: Alice leaves; to get hs1's head as base, Bob then invites Heidi and Ivan.
    ///
    /// # Errors
    /// As [`Split::before`].
    pub fn alice_leaves(&mut self) -> Result<(), Error> {
        self.person("alice")?.run(&["room", "leave", &self.room])?;
        self.talk(Step::AliceLeft, &["bob", "erin"])?;
        if self.base == Base::Hs1 {
            self.bring("bob", "heidi", HS1)?;
            self.bring("bob", "ivan", HS1)?;
            self.talk(Step::HeidiAndIvanCame, &["bob", "erin", "heidi", "ivan"])?;
        }
        Ok(())
    }

    /// On hs2: Carol invites Frank.
    ///
    /// # Errors
    /// As [`Split::before`].
    pub fn frank_comes(&mut self) -> Result<(), Error> {
        self.bring("carol", "frank", HS2)?;
        self.talk(Step::FrankCame, &["carol", "dan", "frank"])
    }

    /// On hs2: somebody copies what Dan's device holds; then Dan rekeys.
    ///
    /// # Errors
    /// As [`Split::before`].
    pub fn dan_rekeys(&mut self) -> Result<(), Error> {
        let dan = self.person("dan")?;
        let thief = dan.copied(&format!("thief-of-{}", dan.name()))?;
        dan.run(&["update", &self.room])?;
        self.thief = Some(thief);
        self.talk(Step::DanRekeyed, &["carol", "dan", "frank"])
    }

    /// On hs2: Frank, who came during the split, invites Grace.
    ///
    /// # Errors
    /// As [`Split::before`].
    pub fn grace_comes(&mut self) -> Result<(), Error> {
        self.bring("frank", "grace", HS2)?;
        self.talk(Step::GraceCame, &["carol", "dan", "frank", "grace"])
    }

    /// Notes what everybody knows; call it when the link has healed, before anybody syncs.
    ///
    /// # Errors
    /// As [`Person::log`].
    pub fn note_heads(&mut self) -> Result<(), Error> {
        let forks = Forks::of(self.people.values(), &self.room)?;
        let head = |name: &str| {
            let head = self.person(name)?.canonical(&self.room)?;
            head.ok_or_else(|| Error::Missing(format!("head of {name}")))
        };
        let heads = [head("bob")?, head("carol")?];
        self.baseline = Some(Baseline { forks, heads });
        Ok(())
    }

    /// Waits until both servers have everything that was said, and agree on who is joined; nobody syncs.
    ///
    /// # Errors
    /// [`Error::InVain`].
    pub fn wait_for_servers(&self) -> Result<(), Error> {
        let servers = [self.person("bob")?.plain()?, self.person("carol")?.plain()?];
        for said in &self.said {
            for server in &servers {
                server.wait_for(&self.room, &said.event)?;
            }
        }
        let start = Instant::now();
        loop {
            let [one, two] = [&servers[0], &servers[1]].map(|server| joined(server, &self.room));
            let (one, two) = (one?, two?);
            if one == two && one.len() == self.staying().len() {
                return Ok(());
            }
            if start.elapsed() > ARRIVAL {
                return Err(Error::InVain { what: format!("equal members: {one:?} and {two:?}"), waited: ARRIVAL });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Lets the first ones speak, all at the same time, then everybody sync until all agree, and all speak.
    ///
    /// # Errors
    /// As [`Split::before`].
    pub fn merge(&mut self, first: First) -> Result<(), Error> {
        self.first = first;
        self.speak_first()?;
        if let [name] = first.0
            && !TWO_SIDED.contains(name)
        {
            self.one_two_sided_device_helps()?;
        }
        self.agree(&self.staying())?;
        Ok(())
    }

    /// Everybody who stayed speaks and reads each other; Alice takes in what she is still told.
    ///
    /// # Errors
    /// As [`Split::before`].
    pub fn after(&mut self) -> Result<(), Error> {
        self.talk(Step::After, &self.staying())?;
        self.agree(&self.staying())?;
        self.person("alice")?.sync()
    }

    fn speak_first(&mut self) -> Result<(), Error> {
        let mut sent = Vec::new();
        std::thread::scope(|scope| {
            let speaking: Vec<_> =
                self.first.0.iter().map(|name| (*name, scope.spawn(|| self.say(Step::Healed, name)))).collect();
            for (name, thread) in speaking {
                let said = thread.join().unwrap_or_else(|_| Err(Error::Missing(format!("answer of {name}"))));
                sent.push(said);
            }
        });
        for said in sent {
            self.said.push(said?);
        }
        Ok(())
    }

    /// Bob syncs, and with him those who are on one side only; Carol and Dan do not.
    fn one_two_sided_device_helps(&mut self) -> Result<(), Error> {
        let mut names = self.staying();
        names.retain(|name| !["carol", "dan"].contains(name));
        names.sort_by_key(|name| *name != "bob");
        self.helper_failed = self.disagreement_after_rounds(&names)?;
        Ok(())
    }

    /// Has these people sync until they share one canonical head, or the rounds are over.
    fn agree(&self, names: &[&str]) -> Result<(), Error> {
        self.disagreement_after_rounds(names).map(drop)
    }

    fn disagreement_after_rounds(&self, names: &[&str]) -> Result<Vec<String>, Error> {
        let mut against = Vec::new();
        for _ in 0..ROUNDS {
            for name in names {
                self.person(name)?.sync()?;
            }
            against = self.disagreement(names)?;
            if against.is_empty() {
                break;
            }
        }
        Ok(against)
    }

    /// Invites somebody on one's own server, waits until they are in, and until they know.
    fn bring(&self, host: &str, guest: &str, server: ServerNumber) -> Result<(), Error> {
        let (host, guest) = (self.person(host)?, self.person(guest)?);
        host.invite(&self.room, guest)?;
        guest.accept(&self.room, server)?;
        host.sync_until_in_head(&self.room, guest.device())?;
        guest.sync_until_in_head(&self.room, guest.device())
    }

    fn talk(&mut self, step: Step, names: &[&'static str]) -> Result<(), Error> {
        for name in names {
            let said = self.say(step, name)?;
            self.said.push(said);
        }
        let events: Vec<&str> =
            self.said.iter().filter(|said| said.step == step).map(|said| said.event.as_str()).collect();
        for name in names {
            let all_read = |person: &Person| {
                let messages = person.messages(&self.room)?;
                let read = |event: &str| {
                    messages.iter().any(|message| message.event_id.as_deref() == Some(event) && message.utd.is_none())
                };
                Ok(events.iter().all(|event| read(event)))
            };
            self.person(name)?.sync_until(&format!("all messages of {step:?}"), all_read)?;
        }
        Ok(())
    }

    fn say(&self, step: Step, by: &'static str) -> Result<Said, Error> {
        let sent = self.person(by)?.send(&self.room, &words(step, by))?;
        Ok(Said { step, by, event: sent.event_id, epoch: sent.epoch_id })
    }
}

/// Gives what somebody says at a step.
pub(super) fn words(step: Step, by: &str) -> String {
    format!("{step}, says {by}")
}

fn joined(server: &Plain, room: &str) -> Result<Vec<String>, Error> {
    let answer = server.call(reqwest::Method::GET, &format!("rooms/{room}/joined_members"), None)?;
    let joined = answer["joined"].as_object().map(|joined| joined.keys().cloned().collect());
    Ok(joined.unwrap_or_default())
}
