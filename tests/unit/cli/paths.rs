//! Every argument of every command, as clap has it: a new one is in these tests by itself.

use super::super::{Cli, definition, execute, prepared};
use super::{Files, Input, Output, Target};
use crate::error::Result;
use crate::files::identity;
use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use std::any::TypeId;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What a person wrote; also a TOML file.
const MINE: &[u8] = b"# of my own\n";

fn is<T: 'static>(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<T>()
}

fn of_type<T: 'static>(command: &Command) -> Vec<Arg> {
    command.get_arguments().filter(|arg| is::<T>(arg)).cloned().collect()
}

/// A call of a command with these arguments and whatever else it must have, its inputs being `other`.
fn call(command: &Command, given: &[(&Arg, &Path)], other: &Path) -> Option<ArgMatches> {
    let mut line: Vec<OsString> = vec!["vista".into(), command.get_name().into()];
    let mut add = |arg: &Arg, value: OsString| {
        line.extend(arg.get_long().map(|long| format!("--{long}").into()));
        line.push(value);
    };
    given.iter().for_each(|(arg, value)| add(arg, value.as_os_str().into()));
    let missing = |arg: &&Arg| arg.is_required_set() && given.iter().all(|(g, _)| g.get_id() != arg.get_id());
    for arg in command.get_arguments().filter(missing) {
        let value = match arg.get_possible_values().first() {
            _ if arg.get_value_names().is_some_and(|names| names[0] == "RUN") => {
                other.parent().expect("a folder").into()
            }
            _ if is::<Input>(arg) => other.into(),
            _ if is::<Output>(arg) => other.with_file_name("elsewhere.safetensors").into(),
            Some(value) => value.get_name().into(),
            None if arg.get_long() == Some("key") => "method.tau".into(),
            None => "1".into(),
        };
        add(arg, value);
    }
    definition().try_get_matches_from(line).ok()
}

fn targets(matches: &ArgMatches) -> Result<Vec<PathBuf>> {
    Ok(files(matches)?.writes.into_iter().map(|Target { path, .. }| path).collect())
}

/// The files of a call.
fn files(matches: &ArgMatches) -> Result<Files> {
    let command = Cli::from_arg_matches(matches).expect("parsed").command;
    let (name, matches) = matches.subcommand().expect("a command");
    let json = matches.try_get_one::<Output>("json").ok().flatten();
    Ok(prepared(name, &command, json)?.0)
}

/// An output's value that its command takes.
fn output(arg: &Arg, folder: &Path) -> PathBuf {
    folder.join(if arg.get_id() == "picture" { "out.png" } else { "out.safetensors" })
}

#[test]
fn every_argument_that_is_a_path_says_whether_it_is_read_or_written() {
    let mut seen = 0;
    for command in definition().get_subcommands() {
        for arg in command.get_arguments() {
            let place = format!("vista {} {}", command.get_name(), arg.get_id());
            let names = arg.get_value_names().unwrap_or_default();
            let is_path =
                names.iter().any(|name| ["FILE", "DIR", "PHOTOS", "LIST", "RUN"].contains(&name.as_str()));
            let typed = is::<Input>(arg) || is::<Output>(arg);
            assert!(typed || !is_path, "{place}: make it an Input or an Output");
            assert!(
                arg.get_value_parser().type_id() != ValueParser::path_buf().type_id(),
                "{place}: likewise"
            );
            seen += usize::from(typed);
        }
    }
    assert!(seen > 30, "{seen}");
}

#[cfg(unix)]
#[test]
fn no_output_of_any_command_replaces_any_of_its_inputs_by_whatever_links() {
    let folder = tempfile::tempdir().expect("folder");
    let mut tried = 0;
    for command in definition().get_subcommands() {
        let inputs = of_type::<Input>(command);
        // Where outputs go by default counts too: no output is named then.
        let outputs = of_type::<Output>(command).into_iter().map(Some).chain([None]);
        for (out, input) in outputs.flat_map(|out| inputs.iter().map(move |input| (out.clone(), input))) {
            for kind in ["itself", "another way", "soft link", "hard link"] {
                let work = tempfile::tempdir_in(folder.path()).expect("folder");
                let [other, first] = ["other", "first"].map(|name| work.path().join(name));
                fs::write(&other, MINE).expect("written");
                fs::write(&first, MINE).expect("written");
                let named = out.as_ref().map(|out| (out, output(out, work.path())));
                let named: Vec<(&Arg, &Path)> =
                    named.iter().map(|(arg, path)| (*arg, path.as_path())).collect();
                let with = |path: &Path| {
                    let mut given: Vec<(&Arg, PathBuf)> = vec![(input, path.into())];
                    given.extend(named.iter().map(|(arg, path)| (*arg, path.to_path_buf())));
                    let given: Vec<(&Arg, &Path)> =
                        given.iter().map(|(arg, path)| (*arg, path.as_path())).collect();
                    call(command, &given, &other)
                };
                // Arguments that exclude each other.
                let Some(matches) = with(&first) else { continue };
                let place = format!("vista {} {} {}", command.get_name(), input.get_id(), kind);
                for target in targets(&matches).expect(&place).iter().filter(|t| t.starts_with(work.path())) {
                    // A run's page goes by default into what is read.
                    if target.starts_with(&first) {
                        continue;
                    }
                    fs::create_dir_all(target.parent().expect("a folder")).expect("folder");
                    fs::write(target, MINE).expect("written");
                    let link = work.path().join("link");
                    let _ = fs::remove_file(&link);
                    let path = match kind {
                        "itself" => target.clone(),
                        "another way" => {
                            let (folder, name) =
                                (target.parent().expect("a folder"), target.file_name().expect("a name"));
                            folder.join("..").join(folder.file_name().expect("a name")).join(".").join(name)
                        }
                        "soft link" => {
                            std::os::unix::fs::symlink(target, &link).map(|()| link).expect("linked")
                        }
                        _ => fs::hard_link(target, &link).map(|()| link).expect("linked"),
                    };
                    let matches = with(&path).expect(&place);
                    // A default that lies beside an input goes with it to another place.
                    let is_it = |path: &PathBuf| identity(path) == identity(target);
                    if targets(&matches).is_ok_and(|targets| !targets.iter().any(is_it)) {
                        fs::remove_file(target).expect("removed");
                        continue;
                    }
                    let refused =
                        execute(&matches).expect_err(&format!("{place}: {} is lost", target.display()));
                    assert_eq!(refused.exit_code(), 2, "{place}: {refused}");
                    assert_eq!(fs::read(target).expect("there"), MINE, "{place}: {refused}");
                    fs::remove_file(target).expect("removed");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn no_command_replaces_a_file_that_it_did_not_write() {
    let mut tried = 0;
    for command in definition().get_subcommands() {
        for out in of_type::<Output>(command).into_iter().map(Some).chain([None]) {
            let work = tempfile::tempdir().expect("folder");
            let other = work.path().join("other");
            fs::write(&other, MINE).expect("written");
            let path = out.as_ref().map(|out| output(out, work.path()));
            let given: Vec<(&Arg, &Path)> = out.iter().zip(path.as_deref()).collect();
            let Some(matches) = call(command, &given, &other) else { continue };
            let check = || files(&matches).and_then(|files| files.check());
            check().expect("nothing is in the way");
            for target in targets(&matches).expect("targets").iter().filter(|t| t.starts_with(work.path())) {
                // Checkpoints and results are told of by the run itself.
                let own = ["checkpoint", "previous", "best", "next", "kept", "result", ".next.safetensors"];
                if target.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| own.contains(&stem)) {
                    continue;
                }
                fs::create_dir_all(target.parent().expect("a folder")).expect("folder");
                fs::write(target, "").expect("written");
                check().expect("an empty file holds nothing");
                fs::write(target, MINE).expect("written");
                let message = check().expect_err(&format!("{} is lost", target.display())).to_string();
                assert!(
                    message.contains("did not write") && message.contains("name another by --"),
                    "{message}"
                );
                fs::remove_file(target).expect("removed");
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn a_folder_that_is_read_is_not_one_to_write_into() {
    let work = tempfile::tempdir().expect("folder");
    let photos = work.path().join("photos");
    fs::create_dir(&photos).expect("folder");
    for command in [
        &["pretrain", "--data"][..],
        &["figures", "--checkpoint", "x", "--data"],
        &["pretrain", "--labelled"],
    ] {
        let mut line: Vec<OsString> = vec!["vista".into()];
        line.extend(command.iter().map(OsString::from));
        line.extend([photos.as_os_str(), "--out".as_ref(), photos.join(".").as_os_str()].map(OsString::from));
        let message = execute(&definition().get_matches_from(line)).unwrap_err().to_string();
        assert!(message.contains("--out would write over what --"), "{message}");
    }
    assert_eq!(fs::read_dir(&photos).expect("there").count(), 0);
}
