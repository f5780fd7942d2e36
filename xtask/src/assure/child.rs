//! One runner process: what it said, and the processor time that it took.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::error::Error;

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Ticks per second in `/proc`: `USER_HZ`, which is 100 wherever Linux runs.
const TICKS: u64 = 100;

/// How a process ended.
pub(crate) struct Ended {
    /// What it wrote to its standard output, and after that to its standard error.
    pub(crate) said: String,
    pub(crate) cpu_seconds: u64,
    pub(crate) end: End,
}

/// Well, badly, or not by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Well,
    Badly,
    /// It was ended when its time was up.
    Hung,
}

/// Runs a program with lowered priority to its end, or until `limit`.
pub(crate) fn run(command: &Command, limit: Duration) -> Result<Ended, Error> {
    let program = Path::new(command.get_program()).to_path_buf();
    let mut polite = Command::new("nice");
    polite.args(["-n", "10"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => polite.env(name, value),
            None => polite.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        polite.current_dir(directory);
    }
    polite.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = polite.spawn().map_err(Error::file(&program))?;
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let (cpu_seconds, hung) = watch(&mut child, limit);
    let status = child.wait().map_err(Error::file(&program))?;
    let said = [out, err].map(|thread| thread.join().unwrap_or_default()).concat();
    let end = match (hung, status.success()) {
        (true, _) => End::Hung,
        (false, true) => End::Well,
        (false, false) => End::Badly,
    };
    Ok(Ended { said, cpu_seconds, end })
}

/// Reads all that a process writes, so that it never waits for a reader.
fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before a fault still counts.
            let _broken = pipe.read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).into_owned()
    })
}

/// Waits until the process has ended, but leaves it to be waited for: until then the system tells the time it took.
fn watch(child: &mut Child, limit: Duration) -> (u64, bool) {
    let begun = Instant::now();
    let mut hung = false;
    loop {
        match Stat::read(child.id()) {
            Some(stat) if stat.running && begun.elapsed() < limit => std::thread::sleep(POLL),
            Some(stat) if stat.running && !hung => {
                hung = true;
                // A failure means that it has just ended by itself.
                let _ended = child.kill();
            }
            Some(stat) if stat.running => std::thread::sleep(POLL),
            Some(stat) => return (stat.ticks.div_ceil(TICKS), hung),
            None => return (0, hung),
        }
    }
}

/// A line of `/proc/PID/stat`.
struct Stat {
    running: bool,
    /// User and system time, with that of children that it waited for.
    ticks: u64,
}

impl Stat {
    fn read(process: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// The fields after the name, which stands in parentheses and may hold anything (`proc_pid_stat(5)`).
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
        Some(Self { running: !matches!(fields.first(), Some(&"Z" | &"X")), ticks })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{End, Stat, run};

    fn sh(script: &str, limit: Duration) -> Option<(String, u64, End)> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(&command, limit).ok().map(|ended| (ended.said, ended.cpu_seconds, ended.end))
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_hides_no_field() {
        let line = "77 (a) b) Z 1 77 77 0 -1 4194 1 2 3 4 250 50 7 3 20 0 1 0 99 0 0";
        let stat = Stat::parse(line);
        assert!(stat.is_some_and(|stat| !stat.running && stat.ticks == 310));
    }

    #[test]
    fn the_time_that_a_process_took_is_told_after_its_end() {
        let (said, cpu, end) = sh("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done", Duration::MAX)
            .unwrap_or((String::new(), 0, End::Hung));
        assert_eq!((said.as_str(), end), ("done\n", End::Well));
        assert!(cpu >= 1, "whoever computes takes some time, rounded up");
    }

    #[test]
    fn failing_and_hanging_are_told_apart() {
        assert_eq!(sh("echo why >&2; exit 3", Duration::MAX).map(|(said, _, end)| (said, end)), {
            Some(("why\n".to_owned(), End::Badly))
        });
        assert_eq!(sh("exec tail -f /dev/null", Duration::ZERO).map(|(_, _, end)| end), Some(End::Hung));
    }
}
