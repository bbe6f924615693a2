//! A small `sudo`: members of the group `wheel` may run anything as anyone, without a password.
//!
//! BusyBox has none, and user data and playbooks of EC2 images call it. The image holds this as a separate setuid
//! copy of the binary. Differs from sudo on purpose: no sudoers file, no password, no log.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};

use crate::{exec, sys};

#[derive(Debug, PartialEq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
struct Request {
    user: Option<String>,
    shell: bool,
    login: bool,
    keep_environment: bool,
    variables: Vec<(String, String)>,
    command: Vec<String>,
    nothing: bool,
}

struct Account {
    uid: u32,
    gid: u32,
    home: String,
    shell: String,
}

pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = Request::parse(&arguments).map_err(io::Error::other).and_then(|request| run(&request));
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sudo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(request: &Request) -> io::Result<ExitCode> {
    let caller = sys::user();
    if caller != 0 && !sys::groups()?.contains(&sys::WHEEL) {
        return Err(io::Error::other("you are not in the group wheel"));
    }
    if request.nothing {
        return Ok(ExitCode::SUCCESS);
    }
    let name = request.user.as_deref().unwrap_or("root");
    let account = account(name)?;
    let mut groups = vec![account.gid];
    groups.extend(groups_of(name));
    sys::become_user(account.uid, account.gid, &groups)?;

    let mut words = request.command.iter();
    let mut command = if request.login || request.shell {
        let mut shell = exec::command(&account.shell);
        if request.login {
            shell
                .arg0(format!("-{}", account.shell.rsplit('/').next().unwrap_or("sh")))
                .current_dir(&account.home);
        }
        if !request.command.is_empty() {
            shell.arg("-c").arg(request.command.join(" "));
        }
        shell
    } else {
        let program = words
            .next()
            .ok_or_else(|| io::Error::other("usage: sudo [-u USER] [-i|-s] [NAME=VALUE…] COMMAND…"))?;
        let mut command = exec::command(program);
        command.args(words);
        command
    };
    for (name, value) in std::env::vars() {
        if request.keep_environment && !name.starts_with("LD_")
            || ["TERM", "LANG", "TZ", "COLORTERM"].contains(&name.as_str())
            || name.starts_with("LC_")
        {
            command.env(name, value);
        }
    }
    command
        .env("PATH", exec::PATH)
        .env("HOME", &account.home)
        .env("USER", name)
        .env("LOGNAME", name)
        .env("SHELL", &account.shell);
    command
        .env("SUDO_UID", caller.to_string())
        .env("SUDO_USER", user_name(caller).unwrap_or_else(|| caller.to_string()));
    command.envs(request.variables.iter().cloned()).stdin(Stdio::inherit());
    if !request.login {
        command.current_dir(std::env::current_dir().unwrap_or_else(|_| "/".into()));
    }
    Err(command.exec())
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Request, String> {
        let mut request = Request::default();
        let mut words = arguments.iter().peekable();
        while let Some(word) = words.next_if(|word| word.starts_with('-')) {
            match word.as_str() {
                "--" => break,
                "-u" | "--user" => request.user = Some(words.next().ok_or("-u needs a user")?.clone()),
                "--login" => request.login = true,
                "--shell" => request.shell = true,
                "--preserve-env" => request.keep_environment = true,
                "--non-interactive" | "--set-home" | "--stdin" => {}
                _ if word.starts_with("--user=") => request.user = Some(word["--user=".len()..].to_owned()),
                // What a password prompt would say; there is none. The next word is its text.
                "-p" => drop(words.next()),
                flags if !flags.starts_with("--") => {
                    for flag in flags[1..].chars() {
                        match flag {
                            'i' => request.login = true,
                            's' => request.shell = true,
                            'E' => request.keep_environment = true,
                            'n' | 'H' | 'S' => {}
                            'v' | 'k' | 'K' => request.nothing = true,
                            'u' => request.user = Some(words.next().ok_or("-u needs a user")?.clone()),
                            other => return Err(format!("unknown option -{other}")),
                        }
                    }
                }
                other => return Err(format!("unknown option {other}")),
            }
        }
        while let Some(word) = words.peek() {
            let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_variable(name)) else {
                break;
            };
            request.variables.push((name.to_owned(), value.to_owned()));
            words.next();
        }
        request.command = words.cloned().collect();
        Ok(request)
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

fn account(name: &str) -> io::Result<Account> {
    let wanted_uid = name.strip_prefix('#');
    let table = fs::read_to_string("/etc/passwd")?;
    for line in table.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, uid, gid, _, home, shell] = fields[..] else { continue };
        if user == name || Some(uid) == wanted_uid {
            let number =
                |text: &str| text.parse().map_err(|_| io::Error::other(format!("/etc/passwd: {line}")));
            return Ok(Account {
                uid: number(uid)?,
                gid: number(gid)?,
                home: home.to_owned(),
                shell: shell.to_owned(),
            });
        }
    }
    Err(io::Error::other(format!("unknown user {name}")))
}

fn user_name(uid: u32) -> Option<String> {
    let table = fs::read_to_string("/etc/passwd").ok()?;
    let uid = uid.to_string();
    table
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid))
        .and_then(|line| line.split(':').next())
        .map(str::to_owned)
}

fn groups_of(name: &str) -> Vec<u32> {
    let table = fs::read_to_string("/etc/group").unwrap_or_default();
    let member = |line: &&str| {
        line.rsplit(':').next().is_some_and(|members| members.split(',').any(|member| member == name))
    };
    table.lines().filter(member).filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Request::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let request = parse("-n -u ec2-user A=1 ls -l B=2").unwrap();
        assert_eq!(request.user.as_deref(), Some("ec2-user"));
        assert_eq!(request.variables, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(request.command, ["ls", "-l", "B=2"]);
    }

    #[test]
    fn what_ansible_sends_is_understood() {
        let request = parse("-H -S -n -u root /bin/sh").unwrap();
        assert_eq!(request.command, ["/bin/sh"]);
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert!(parse("-x ls").is_err());
        assert!(parse("--chroot=/ ls").is_err());
    }
}
