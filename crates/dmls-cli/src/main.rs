//! The `dmls` command.

mod args;
mod commands;
mod context;
mod failure;
mod graph;
mod output;
mod secrets;
mod show;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use args::Arguments;
use context::Context;
use failure::Failure;
use output::Output;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return misunderstood(&error, &words),
    };
    let options = &arguments.options;
    let output = Output::new(options.json, options.verbose, options.quiet);
    let done = Context::new(options, output).and_then(|context| commands::run(context, arguments.command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Help goes to stdout with exit code 0, anything else to stderr with 2; with `--json` as an object.
fn misunderstood(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    if error.use_stderr() && json {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Output::new(true, false, false).failure(&Failure::usage(first));
    } else {
        // Nobody is left to be told that nobody reads the help.
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(failure::Exit::Usage as u8) } else { ExitCode::SUCCESS }
}
