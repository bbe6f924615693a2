//! Policies of resources: read, and judged. Of keys, and of VPC endpoints.
//!
//! Judged are effect, principal, action, resource and the conditions named below. An account's root as the principal stands
//! for every principal of that account, as what IAM would add is not built. A statement to allow with a condition that is
//! not known here allows nothing; one to deny denies.
//! AWS: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html>,
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-access.html>
//! Differs: of conditions, `kms:CallerAccount`, `kms:ViaService`, `kms:GrantIsForAWSResource`, `kms:EncryptionContext:…`,
//! `aws:PrincipalAccount`, `aws:PrincipalArn`, `aws:SourceVpce`, `aws:SourceVpc`, `aws:VpcSourceIp`, `aws:ResourceTag/…` and
//! what an operation tells of its resources are known, compared as strings, ARNs, flags, address ranges and by `Null`.

use crate::filter::Pattern;
use crate::passage::Passage;
use crate::{EncryptionContext, Touched};
use ipnet::IpNet;
use model::AccountId;
use serde_json::{Map, Value};
use std::net::IpAddr;

/// A policy's text in bytes, at most.
pub const LARGEST: usize = 32 << 10;

/// What is asked of a policy.
pub struct Ask<'a> {
    pub principal: &'a str,
    pub account: AccountId,
    pub action: &'a str,
    /// What it is asked for; none: for the resource whose policy it is, which speaks of nothing else.
    pub resource: Option<&'a Touched>,
    /// The service that asks in its caller's name.
    pub via: Option<&'a str>,
    pub context: &'a EncryptionContext,
    /// The VPC endpoint that the request came by.
    pub passage: Option<&'a Passage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny,
    /// It says nothing of this.
    Silent,
}

/// It is no policy, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

pub struct Document(Vec<Statement>);

struct Statement {
    allows: bool,
    principals: Vec<String>,
    /// Everybody but the principals.
    but_principals: bool,
    actions: Vec<String>,
    but_actions: bool,
    resources: Vec<String>,
    but_resources: bool,
    conditions: Map<String, Value>,
}

/// A text, or a list of texts.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn principals(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) if text == "*" => Some(vec![text.clone()]),
        Value::Object(kinds) => {
            let mut all = Vec::new();
            for (kind, names) in kinds {
                let names = texts(names)?;
                // Services and federated users are nobody who calls here.
                if kind == "AWS" {
                    all.extend(names);
                }
            }
            Some(all)
        }
        _ => None,
    }
}

impl Document {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > LARGEST {
            return Err(Malformed("it is larger than 32 KiB"));
        }
        let document: Value = serde_json::from_str(text).map_err(|_| Malformed("it is not JSON"))?;
        let document = document.as_object().ok_or(Malformed("it is not an object"))?;
        match document.get("Version").map(Value::as_str) {
            None | Some(Some("2012-10-17" | "2008-10-17")) => {}
            Some(_) => return Err(Malformed("its version is not known")),
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(list)) if !list.is_empty() => list.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err(Malformed("it has no statement")),
        };
        statements.into_iter().map(Statement::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it lets everybody do everything.
    pub fn is_full_access(&self) -> bool {
        let is_all = |texts: &[String]| texts.iter().any(|text| text == "*");
        let whole = |s: &Statement| {
            !s.but_principals
                && !s.but_actions
                && !s.but_resources
                && s.conditions.is_empty()
                && [&s.principals, &s.actions, &s.resources].into_iter().all(|texts| is_all(texts))
        };
        self.0.iter().all(|statement| statement.allows) && self.0.iter().any(whole)
    }

    /// A denial counts for more than any leave.
    pub fn judge(&self, ask: &Ask<'_>) -> Verdict {
        let mut verdict = Verdict::Silent;
        for statement in &self.0 {
            if statement.is_about(ask) {
                if !statement.allows {
                    return Verdict::Deny;
                }
                verdict = Verdict::Allow;
            }
        }
        verdict
    }
}

impl Statement {
    fn parse(value: &Value) -> Result<Self, Malformed> {
        let fields = value.as_object().ok_or(Malformed("a statement is not an object"))?;
        let allows = match fields.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            Some(_) | None => return Err(Malformed("the effect of a statement is neither Allow nor Deny")),
        };
        let (principal, but_principals) = match (fields.get("Principal"), fields.get("NotPrincipal")) {
            (Some(principal), None) => (principal, false),
            (None, Some(principal)) => (principal, true),
            _ => return Err(Malformed("a statement has no principal")),
        };
        let principals = principals(principal).ok_or(Malformed("a principal is neither * nor an object"))?;
        let (action, but_actions) = match (fields.get("Action"), fields.get("NotAction")) {
            (Some(action), None) => (action, false),
            (None, Some(action)) => (action, true),
            _ => return Err(Malformed("a statement has no action")),
        };
        let actions = texts(action).ok_or(Malformed("an action is no text"))?;
        let (resource, but_resources) = match (fields.get("Resource"), fields.get("NotResource")) {
            (Some(resource), None) => (resource, false),
            (None, Some(resource)) => (resource, true),
            _ => return Err(Malformed("a statement has no resource")),
        };
        let resources = texts(resource).ok_or(Malformed("a resource is no text"))?;
        let conditions = match fields.get("Condition") {
            None => Map::new(),
            Some(Value::Object(conditions)) => conditions.clone(),
            Some(_) => return Err(Malformed("a condition is not an object")),
        };
        Ok(Self {
            allows,
            principals,
            but_principals,
            actions,
            but_actions,
            resources,
            but_resources,
            conditions,
        })
    }

    fn is_about(&self, ask: &Ask<'_>) -> bool {
        let root = format!("arn:aws:iam::{}:root", ask.account);
        let number = ask.account.to_string();
        let named = self.principals.iter().any(|principal| {
            principal == "*" || *principal == root || *principal == number || principal == ask.principal
        });
        let acted = self.actions.iter().any(|action| {
            Pattern::new(&action.to_ascii_lowercase()).matches(&ask.action.to_ascii_lowercase())
        });
        let meant = ask.resource.is_none_or(|resource| {
            let arn = resource.arn.as_str();
            self.resources.iter().any(|wanted| Pattern::new(wanted).matches(arn)) != self.but_resources
        });
        named != self.but_principals
            && acted != self.but_actions
            && meant
            // What is not known neither allows nor keeps from denying.
            && self.conditions.iter().all(|(operator, keys)| holds(operator, keys, ask).unwrap_or(!self.allows))
    }
}

/// The value of a condition key, if it has one; `None`: the key is not known.
#[allow(clippy::option_option, reason = "not known and not there are told apart")]
fn value(key: &str, ask: &Ask<'_>) -> Option<Option<String>> {
    let lower = key.to_ascii_lowercase();
    let value = match lower.as_str() {
        "kms:calleraccount" | "aws:principalaccount" => Some(ask.account.to_string()),
        "aws:principalarn" => Some(ask.principal.to_owned()),
        "kms:viaservice" => ask.via.map(str::to_owned),
        "kms:grantisforawsresource" => Some(ask.via.is_some().to_string()),
        "aws:sourcevpce" => ask.passage.map(|passage| passage.endpoint.to_string()),
        "aws:sourcevpc" => ask.passage.map(|passage| passage.vpc.to_string()),
        "aws:vpcsourceip" => ask.passage.map(|passage| passage.source.to_string()),
        _ if lower.starts_with("kms:encryptioncontext:") => {
            ask.context.get(&key["kms:encryptioncontext:".len()..]).cloned()
        }
        _ if lower.starts_with("aws:resourcetag/") => {
            ask.resource?.tags.get(&key["aws:resourcetag/".len()..]).cloned()
        }
        _ => {
            let mut told = ask.resource?.conditions.iter();
            let (_, value) = told.find(|(name, _)| name.eq_ignore_ascii_case(key))?;
            Some(value.clone())
        }
    };
    Some(value)
}

/// Whether all keys under one operator hold; `None`: that is not known.
fn holds(operator: &str, keys: &Value, ask: &Ask<'_>) -> Option<bool> {
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    for (key, wanted) in keys.as_object()? {
        let wanted = match wanted {
            Value::Bool(flag) => vec![flag.to_string()],
            other => texts(other)?,
        };
        let value = value(key, ask)?;
        let is = |same: &dyn Fn(&str, &str) -> bool| {
            value.as_ref().is_some_and(|value| wanted.iter().any(|wanted| same(wanted, value)))
        };
        let equal = |wanted: &str, value: &str| wanted == value;
        let like = |wanted: &str, value: &str| Pattern::new(wanted).matches(value);
        let within = |wanted: &str, value: &str| {
            let range = wanted.parse::<IpNet>().or_else(|_| wanted.parse::<IpAddr>().map(IpNet::from));
            matches!((range, value.parse::<IpAddr>()), (Ok(range), Ok(value)) if range.contains(&value))
        };
        let held = match operator {
            _ if if_exists && value.is_none() => true,
            "StringEquals" => is(&equal),
            "StringNotEquals" => !is(&equal),
            "StringEqualsIgnoreCase" => is(&|wanted, value| wanted.eq_ignore_ascii_case(value)),
            "StringNotEqualsIgnoreCase" => !is(&|wanted, value| wanted.eq_ignore_ascii_case(value)),
            "StringLike" | "ArnLike" | "ArnEquals" => is(&like),
            "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => !is(&like),
            "Bool" => is(&|wanted, value| wanted.eq_ignore_ascii_case(value)),
            "IpAddress" => is(&within),
            "NotIpAddress" => !is(&within),
            "Null" => wanted.iter().any(|wanted| *wanted == value.is_none().to_string()),
            _ => return None,
        };
        if !held {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    const OWNER: AccountId = AccountId::from_number(111_111_111_111);
    const OTHER: AccountId = AccountId::from_number(222_222_222_222);

    fn judge(policy: &str, account: AccountId, action: &str, via: Option<&str>) -> Verdict {
        let principal = format!("arn:aws:iam::{account}:root");
        let context = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let ask = Ask {
            principal: &principal,
            account,
            action,
            resource: None,
            via,
            context: &context,
            passage: None,
        };
        Document::parse(policy).unwrap().judge(&ask)
    }

    fn policy(statement: &str) -> String {
        format!(r#"{{"Version":"2012-10-17","Statement":[{{{statement},"Resource":"*"}}]}}"#)
    }

    #[test]
    fn the_default_policy_is_for_the_account_alone() {
        let policy = crate::keys::default_policy(OWNER);
        assert_eq!(judge(&policy, OWNER, "kms:Encrypt", None), Verdict::Allow);
        assert_eq!(judge(&policy, OTHER, "kms:Encrypt", None), Verdict::Silent);
    }

    #[test]
    fn a_denial_counts_for_more_and_wildcards_match() {
        let both = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"},
            {"Effect":"Deny","Principal":{"AWS":"222222222222"},"Action":["kms:Gen*"],"Resource":"*"}]}"#;
        assert_eq!(judge(both, OTHER, "kms:GenerateDataKey", None), Verdict::Deny);
        assert_eq!(judge(both, OTHER, "kms:Encrypt", None), Verdict::Allow);
        assert_eq!(judge(both, OWNER, "kms:GenerateDataKey", None), Verdict::Allow);
    }

    #[test]
    fn conditions_are_looked_at_and_unknown_ones_allow_nothing_and_deny() {
        let with = |effect: &str, condition: &str| {
            policy(&format!(
                r#""Effect":"{effect}","Principal":"*","Action":"kms:*","Condition":{condition}"#
            ))
        };
        let through = with("Allow", r#"{"StringEquals":{"kms:ViaService":"ec2.us-east-1.amazonaws.com"}}"#);
        assert_eq!(
            judge(&through, OWNER, "kms:Decrypt", Some("ec2.us-east-1.amazonaws.com")),
            Verdict::Allow
        );
        assert_eq!(judge(&through, OWNER, "kms:Decrypt", None), Verdict::Silent);
        let bound = with("Allow", r#"{"StringLike":{"kms:EncryptionContext:a":"b*"}}"#);
        assert_eq!(judge(&bound, OWNER, "kms:Decrypt", None), Verdict::Allow);
        let unknown = r#"{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}"#;
        assert_eq!(judge(&with("Allow", unknown), OWNER, "kms:Decrypt", None), Verdict::Silent);
        assert_eq!(judge(&with("Deny", unknown), OWNER, "kms:Decrypt", None), Verdict::Deny);
    }

    #[test]
    fn operators_say_what_they_are_called() {
        let condition = |operator: &str, key: &str, wanted: &str| {
            let policy = policy(&format!(
                r#""Effect":"Allow","Principal":"*","Action":"kms:*","Condition":{{"{operator}":{{"{key}":{wanted}}}}}"#
            ));
            judge(&policy, OWNER, "kms:Decrypt", None) == Verdict::Allow
        };
        let (there, absent) = ("kms:EncryptionContext:a", "kms:ViaService");
        for (operator, key, wanted, holds) in [
            ("StringEqualsIgnoreCase", there, r#""B""#, true),
            ("StringNotLike", there, r#"["x*", "b*"]"#, false),
            ("StringNotEquals", absent, r#""b""#, true),
            ("StringEquals", absent, r#""b""#, false),
            ("StringEqualsIfExists", absent, r#""b""#, true),
            ("StringEqualsIfExists", there, r#""x""#, false),
            ("Null", absent, "true", true),
            ("Null", there, r#""true""#, false),
            ("IpAddress", "aws:VpcSourceIp", r#""10.0.0.0/8""#, false),
            ("ArnLike", "aws:PrincipalArn", r#""arn:aws:iam::*:root""#, true),
        ] {
            assert_eq!(condition(operator, key, wanted), holds, "{operator} {key} {wanted}");
        }
    }

    #[test]
    fn a_resource_is_looked_at_where_a_policy_is_of_more_than_one() {
        let judge = |statement: &str, arn: Option<crate::Arn>| {
            let resource = arn.map(Touched::new);
            let ask = Ask {
                principal: "arn:aws:iam::111111111111:root",
                account: OWNER,
                action: "ec2:DeleteVpc",
                resource: resource.as_ref(),
                via: None,
                context: &BTreeMap::new(),
                passage: None,
            };
            let text = format!(
                r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Action":"ec2:*",{statement}}}}}"#
            );
            Document::parse(&text).unwrap().judge(&ask)
        };
        let region = model::Region::parse("us-east-1").unwrap();
        let vpc = |id| Some(crate::Arn::new("ec2", &region, OWNER, "vpc", id));
        let one = r#""Resource":"arn:aws:ec2:*:*:vpc/vpc-1""#;
        assert_eq!(judge(one, vpc("vpc-1")), Verdict::Allow);
        assert_eq!(judge(one, vpc("vpc-2")), Verdict::Silent);
        assert_eq!(judge(one, None), Verdict::Allow);
        let others = r#""NotResource":["arn:aws:ec2:*:*:vpc/vpc-1"]"#;
        assert_eq!(judge(others, vpc("vpc-1")), Verdict::Silent);
        assert_eq!(judge(others, vpc("vpc-2")), Verdict::Allow);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for wrong in ["", "[]", "{}", r#"{"Statement":[]}"#, r#"{"Version":"1","Statement":[]}"#] {
            assert!(Document::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            r#""Effect":"Maybe","Principal":"*","Action":"kms:*""#,
            r#""Effect":"Allow","Action":"kms:*""#,
            r#""Effect":"Allow","Principal":"me","Action":"kms:*""#,
            r#""Effect":"Allow","Principal":"*""#,
            r#""Effect":"Allow","Principal":"*","Action":"kms:*","Condition":[]"#,
        ] {
            assert!(Document::parse(&policy(wrong)).is_err(), "{wrong}");
        }
        assert!(Document::parse(&format!("{{{}", " ".repeat(LARGEST))).is_err());
        let deep = "[".repeat(10_000);
        assert!(Document::parse(&deep).is_err());
    }
}
