//! The commands.

mod account;
mod demo;
mod doctor;
mod listen;
mod online;
mod read;

use clap::CommandFactory as _;

use crate::args::{Arguments, Command, DevicesCommand};
use crate::context::{Context, block_on};
use crate::failure::Failure;

/// Carries out a command.
pub fn run(context: Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Login(login) => block_on(account::login(context, login)),
        Command::Logout(logout) => block_on(account::logout(&context, &logout)),
        Command::Devices(devices) => match devices.action {
            None => block_on(account::devices(&context)),
            Some(DevicesCommand::Approve { device, fingerprint, time }) => {
                block_on(account::approve(&context, &device, &fingerprint, time))
            }
        },
        Command::Rooms => read::rooms(&context),
        Command::Messages(messages) => read::messages(&context, &messages),
        Command::Members(room) => read::members(&context, &room.room),
        Command::Log(log) => read::log(&context, &log),
        Command::Room(room) => block_on(online::room(&context, room)),
        Command::Send(send) => block_on(online::send(&context, send)),
        Command::Update(update) => block_on(online::update(&context, &update)),
        Command::Sync(sync) => block_on(online::sync(&context, sync.time)),
        Command::Listen(listen) => block_on(listen::listen(&context, listen.room.as_deref())),
        Command::Demo(wanted) => demo::demo(&context.output, &wanted),
        Command::Doctor => block_on(doctor::doctor(&context)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "dmls", &mut std::io::stdout());
            Ok(())
        }
    }
}
