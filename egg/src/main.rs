//! `egg`: runs, tests, builds and inspects Go programs as eggos machines.
//!
//! The way of a run: [`cli`] parses, [`plan`] decides, [`content`] builds or reads the program
//! (by [`go`], [`elf`], [`image`], [`kernel`]), [`formats`] packs it or opens what was packed, [`qemu`] describes the machine, [`launch`] and [`vm`]
//! start it and wait, [`outcome`] judges its end, [`exit`] says how `egg` ends.

mod accel;
mod buildinfo;
mod cli;
mod cmd;
mod content;
mod control;
mod elf;
mod exit;
mod formats;
mod forward;
mod go;
mod host_files;
mod image;
mod kernel;
mod launch;
mod named_paths;
mod outcome;
mod plan;
mod qemu;
mod returned;
mod stripped;
mod symbols;
mod terminal;
mod testing;
mod vm;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Code;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(cli::prepared(std::env::args_os().collect())) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a closed stream.
            let _ = error.print();
            let code = if error.use_stderr() { Code::Usage as u8 } else { 0 };
            return ExitCode::from(code);
        }
    };
    exit::report(match cli.command {
        Command::Run(args) => cmd::run::run(&args),
        Command::Test(args) => cmd::test::test(&args),
        Command::TestProgram(args) => cmd::test::run_program(&args),
        Command::Build(args) => cmd::build::build(&args),
        Command::Inspect(args) => cmd::inspect::inspect(&args),
        Command::Exec { parent, command } => {
            let error = launch::become_command(parent, &command);
            // For `egg`, which turns the status into a message of its own.
            if error.downcast_ref::<exit::Failure>().is_some_and(|row| row.code == Code::NotFound) {
                return ExitCode::from(Code::NotFound as u8);
            }
            Err(error)
        }
    })
}
