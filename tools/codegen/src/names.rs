//! Names of the model as Rust spells them. Names that meet after re-casing get a number, in the order of the model.

use std::collections::HashSet;

/// Plural and versioned acronyms that would otherwise split in the wrong place.
const WORDS: [(&str, &str); 12] = [
    ("IPv", "Ipv"),
    ("IPs", "Ips"),
    ("IDs", "Ids"),
    ("VPCs", "Vpcs"),
    ("ENIs", "Enis"),
    ("AMIs", "Amis"),
    ("ARNs", "Arns"),
    ("CIDRs", "Cidrs"),
    ("VCpu", "Vcpu"),
    ("MiB", "Mib"),
    ("GiB", "Gib"),
    ("MBps", "Mbps"),
];

const KEYWORDS: [&str; 40] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait",
    "true", "type", "use",
];

/// The words of a name: at every change from lower case or digit to upper case, before the last capital of an
/// acronym, and at everything that is neither letter nor digit.
fn words(name: &str) -> Vec<String> {
    let mut name = name.to_owned();
    for (from, to) in WORDS {
        name = name.replace(from, to);
    }
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (index, c) in chars.iter().copied().enumerate() {
        if !c.is_ascii_alphanumeric() {
            words.push(String::new());
            continue;
        }
        if c.is_ascii_uppercase() && index > 0 {
            let previous = chars[index - 1];
            let next_is_lower = chars.get(index + 1).is_some_and(char::is_ascii_lowercase);
            let starts = previous.is_ascii_lowercase()
                || previous.is_ascii_digit()
                || (previous.is_ascii_uppercase() && next_is_lower);
            if starts {
                words.push(String::new());
            }
        }
        if let Some(word) = words.last_mut() {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn capitalised(word: &str) -> String {
    word[..1].to_ascii_uppercase() + &word[1..]
}

/// `InstanceId` → `instance_id`, `Type` → `r#type`.
pub fn field(name: &str) -> String {
    let snake = words(name).join("_");
    match snake.as_str() {
        "self" | "super" | "crate" => format!("{snake}_"),
        word if KEYWORDS.contains(&word) => format!("r#{snake}"),
        _ if snake.starts_with(|c: char| c.is_ascii_digit()) => format!("n{snake}"),
        _ => snake,
    }
}

/// The names of shapes are types already, but for their first letter.
pub fn type_name(name: &str) -> String {
    capitalised(name)
}

/// `RunInstancesRequest` → `RUN_INSTANCES_REQUEST`.
pub fn constant(name: &str) -> String {
    let name = words(name).join("_").to_ascii_uppercase();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) { format!("V{name}") } else { name }
}

/// `shutting-down` → `ShuttingDown`, `2.0` → `V20`. `Other` is the fallback of every enum.
pub fn variant(value: &str) -> String {
    let name: String = words(value).iter().map(|word| capitalised(word)).collect();
    match name.as_str() {
        "" => "Empty".to_owned(),
        "Self" | "Other" => name + "Value",
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => format!("V{name}"),
        _ => name,
    }
}

/// The first word after the verb: what a shape is about, for sorting into files.
pub fn noun(name: &str) -> String {
    let words = words(name);
    let start = usize::from(words.len() > 1 && VERBS.contains(&words[0].as_str()));
    words[start..].concat()
}

const VERBS: [&str; 52] = [
    "accept",
    "advertise",
    "allocate",
    "apply",
    "assign",
    "assume",
    "associate",
    "attach",
    "authorize",
    "bundle",
    "cancel",
    "confirm",
    "copy",
    "create",
    "decode",
    "delete",
    "deprovision",
    "deregister",
    "describe",
    "detach",
    "disable",
    "disassociate",
    "enable",
    "export",
    "get",
    "import",
    "list",
    "lock",
    "modify",
    "monitor",
    "move",
    "provision",
    "purchase",
    "reboot",
    "register",
    "reject",
    "release",
    "replace",
    "report",
    "request",
    "reset",
    "response",
    "restore",
    "revoke",
    "run",
    "search",
    "send",
    "start",
    "stop",
    "terminate",
    "unassign",
    "update",
];

/// Hands out names, numbering those that are taken.
#[derive(Default)]
pub struct Unique {
    taken: HashSet<String>,
}

impl Unique {
    pub fn take(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{wanted}{number}");
            number += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::{Unique, constant, field, noun, variant};

    #[test]
    fn fields_are_snake_case() {
        for (name, expected) in [
            ("InstanceId", "instance_id"),
            ("EbsOptimized", "ebs_optimized"),
            ("CPUOptions", "cpu_options"),
            ("IPv6CIDRBlock", "ipv6_cidr_block"),
            ("PublicIPs", "public_ips"),
            ("S3Bucket", "s3_bucket"),
            ("Type", "r#type"),
            ("roleArn", "role_arn"),
        ] {
            assert_eq!(field(name), expected);
        }
    }

    #[test]
    fn variants_are_camel_case_and_never_the_fallback() {
        for (value, expected) in [
            ("shutting-down", "ShuttingDown"),
            ("t2.micro", "T2Micro"),
            ("2.0", "V20"),
            ("SUCCEEDED", "Succeeded"),
            ("other", "OtherValue"),
            ("self", "SelfValue"),
            ("", "Empty"),
        ] {
            assert_eq!(variant(value), expected);
        }
        assert_eq!(constant("u-6tb1.56xlarge"), "U_6TB1_56XLARGE");
    }

    #[test]
    fn names_that_meet_are_numbered() {
        let mut names = Unique::default();
        assert_eq!(
            [names.take("A".into()), names.take("A".into()), names.take("B".into())],
            ["A", "A2", "B"]
        );
    }

    #[test]
    fn a_request_is_filed_under_its_noun() {
        assert_eq!(noun("DescribeVpcsRequest"), "vpcsrequest");
        assert_eq!(noun("Vpc"), "vpc");
    }
}
