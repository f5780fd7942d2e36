//! Passwords and passphrases: from a file, standard input or the terminal, never from the command line.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};

/// Longest secret that is read.
const MAX: u64 = 4096;

/// A secret from a file, without the line's end; `-` is standard input.
pub fn from_file(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let unreadable = |error: io::Error| {
        Failure::new(
            Exit::Failure,
            "secret_file",
            format!("the {what} file {} cannot be read: {error}", path.display()),
        )
    };
    let mut text = Zeroizing::new(String::with_capacity(MAX as usize));
    if path.as_os_str() == "-" {
        io::stdin().lock().take(MAX).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(MAX).read_to_string(&mut text).map_err(unreadable)?;
    }
    let secret = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
    if secret.is_empty() {
        return Err(Failure::new(Exit::Failure, "secret_file", format!("the {what} file is empty")));
    }
    Ok(secret)
}

/// A secret typed without echo.
pub fn ask(prompt: &str) -> io::Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other("there is no terminal to ask at"));
    }
    rpassword::prompt_password(prompt).map(Zeroizing::new)
}

/// A new passphrase, typed twice.
pub fn ask_new_passphrase() -> Result<Zeroizing<String>, Failure> {
    let failed = |error| Failure::usage(format!("the passphrase cannot be asked for: {error}"));
    let first = ask("New passphrase for this profile: ").map_err(failed)?;
    let second = ask("Once more: ").map_err(failed)?;
    match first {
        first if first.is_empty() => Err(Failure::usage("the passphrase is empty")),
        first if first != second => Err(Failure::usage("the two passphrases differ")),
        first => Ok(first),
    }
}
