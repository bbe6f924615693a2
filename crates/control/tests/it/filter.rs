//! Filters, pages and tags at their edges.

use control::filter::{FilterField, Filters, Pattern, maybe, one};
use control::page::{ByIds, Paging, cut};
use control::tag::{self, Tags};
use proptest::prelude::*;

struct Thing {
    kind: &'static str,
    zone: Option<&'static str>,
}

static FIELDS: &[FilterField<Thing, ()>] = &[
    FilterField { name: "kind", values: |thing, ()| one(thing.kind) },
    FilterField { name: "zone", values: |thing, ()| maybe(thing.zone) },
];

const WEB: Thing = Thing { kind: "web", zone: Some("a") };

fn parse(given: &[(&str, &[&str])]) -> control::Result<Filters<Thing, ()>> {
    Filters::parse(given.iter().map(|(name, values)| (Some(*name), Some(*values))), FIELDS)
}

fn accepts(given: &[(&str, &[&str])]) -> bool {
    let tags = Tags::from([("Name".into(), "a*b".into()), ("empty".into(), String::new())]);
    parse(given).unwrap().accept(&WEB, &tags, &())
}

#[test]
fn values_are_alternatives_and_filters_all_hold() {
    assert!(accepts(&[]));
    assert!(accepts(&[("kind", &["db", "web"]), ("zone", &["a"])]));
    assert!(!accepts(&[("kind", &["web"]), ("zone", &["b"])]));
    assert!(!accepts(&[("kind", &["web"]), ("kind", &["db"])]));
    assert!(!accepts(&[("kind", &["Web"])]));
}

#[test]
fn tags_are_filtered_by_key_and_by_value() {
    assert!(accepts(&[("tag:Name", &["a\\*b"]), ("tag-key", &["N*"])]));
    assert!(accepts(&[("tag:empty", &[""])]));
    assert!(!accepts(&[("tag:name", &["*"])]));
    assert!(!accepts(&[("tag:Absent", &["*"])]));
    assert!(!accepts(&[("tag-key", &["Name?"])]));
    assert!(!accepts(&[("tag:", &["*"])]));
}

#[test]
fn a_filter_that_is_none_is_the_callers_mistake() {
    let many = vec!["x"; 201];
    for given in [("colour", &["red"][..]), ("Kind", &["web"]), ("", &["x"]), ("kind", &[]), ("kind", &many)]
    {
        let refused = parse(&[given]).err().unwrap();
        assert_eq!((refused.code(), refused.status()), ("InvalidParameterValue", 400), "{}", given.0);
    }
    assert!(parse(&[("kind", &many[..200])]).is_ok());
    let nameless = Filters::<Thing, ()>::parse([(None, Some(&["x"][..]))], FIELDS);
    assert_eq!(nameless.err().unwrap().code(), "InvalidParameterValue");
}

#[test]
fn an_index_can_answer_what_holds_no_wildcard() {
    let filters = parse(&[("kind", &["a", "b\\*"]), ("zone", &["a*"])]).unwrap();
    assert_eq!(filters.exact("kind"), Some(vec!["a", "b*"]));
    assert_eq!((filters.exact("zone"), filters.exact("absent")), (None, None));
}

#[test]
fn many_stars_on_a_long_text_end_soon() {
    let pattern = Pattern::new(&"*a".repeat(100_000));
    assert!(!pattern.matches(&"a".repeat(255)));
}

proptest! {
    #[test]
    fn a_text_matches_itself_escaped_and_with_any_part_starred(text in "[a-c*?\\\\é]{0,12}", at in 0usize..12, len in 0usize..12) {
        let chars: Vec<char> = text.chars().collect();
        let escape = |part: &[char]| part.iter().flat_map(|c| ['\\', *c]).collect::<String>();
        prop_assert!(Pattern::new(&escape(&chars)).matches(&text));
        let start = at.min(chars.len());
        let end = (start + len).min(chars.len());
        let starred = format!("{}*{}", escape(&chars[..start]), escape(&chars[end..]));
        prop_assert!(Pattern::new(&starred).matches(&text));
        let marks = format!("{}{}{}", escape(&chars[..start]), "?".repeat(end - start), escape(&chars[end..]));
        prop_assert!(Pattern::new(&marks).matches(&text));
    }
}

fn page(max: Option<i32>, token: Option<&str>, by_ids: ByIds) -> Result<Paging<u32>, String> {
    Paging::parse(max, token, 5..=10, by_ids).map_err(|error| error.code().to_owned())
}

#[test]
fn pages_keep_to_the_bounds_of_the_operation() {
    for outside in [i32::MIN, -1, 0, 4, 11] {
        assert_eq!(
            page(Some(outside), None, ByIds::Absent).unwrap_err(),
            "InvalidParameterValue",
            "{outside}"
        );
    }
    assert_eq!(page(Some(5), None, ByIds::Given).unwrap_err(), "InvalidParameterCombination");
    assert_eq!(page(None, Some(""), ByIds::Given).unwrap(), Paging { limit: None, after: None });
    for forged in ["?", "djI6Nw", "djE6eA", "Nw"] {
        assert_eq!(page(None, Some(forged), ByIds::Absent).unwrap_err(), "InvalidNextToken", "{forged}");
    }
}

#[test]
fn the_last_page_names_no_next_one() {
    let five = page(Some(5), None, ByIds::Absent).unwrap();
    assert_eq!(cut(0..5, &five, |i| *i), ((0..5).collect(), None));
    assert_eq!(cut(0..0, &five, |i| *i), (vec![], None));
    let (first, token) = cut(0..6, &five, |i| *i);
    assert_eq!(first, (0..5).collect::<Vec<_>>());
    let rest = page(None, token.as_deref(), ByIds::Absent).unwrap();
    assert_eq!(cut(0..6, &rest, |i| *i), (vec![5], None));
}

fn merged(tags: &mut Tags, more: &[(&str, &str)]) -> Result<(), String> {
    tag::merge(tags, more.iter().copied()).map_err(|error| error.code().to_owned())
}

#[test]
fn tags_keep_to_their_limits_or_are_left_as_they_were() {
    let long = |n| "é".repeat(n);
    assert!(tag::check(&long(127), &long(255)).is_ok());
    for (key, value) in [("", ""), (&*long(128), ""), ("k", &*long(256)), ("aws:x", ""), ("AwS:", "")] {
        assert_eq!(tag::check(key, value).unwrap_err().code(), "InvalidParameterValue", "{key}");
    }
    assert!(tag::check("aws", "").is_ok() && tag::check("awß", "").is_ok());
    let mut tags: Tags = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
    tags.insert("aws:cloudformation:stack-name".into(), "s".into());
    assert_eq!(merged(&mut tags, &[("k0", "new"), ("k50", "")]).unwrap_err(), "TagLimitExceeded");
    assert_eq!(tags["k0"], "");
    merged(&mut tags, &[("k0", "new")]).unwrap();
    assert_eq!((tags["k0"].as_str(), tags.len()), ("new", 51));
}

#[test]
fn tags_at_creation_are_for_what_the_call_creates_and_each_key_comes_once() {
    let given = |given: &[(&'static str, &[(&'static str, &'static str)])]| {
        let given = given.iter().map(|(kind, pairs)| (*kind, pairs.to_vec()));
        tag::specifications(given, &["instance", "volume"]).map_err(|error| error.code().to_owned())
    };
    let tags = given(&[("instance", &[("a", "1")]), ("volume", &[("a", "2")])]).unwrap();
    assert_eq!((tags["instance"]["a"].as_str(), tags["volume"]["a"].as_str()), ("1", "2"));
    assert_eq!(given(&[("vpc", &[])]).unwrap_err(), "InvalidParameterValue");
    assert_eq!(given(&[("instance", &[("a", "1"), ("a", "2")])]).unwrap_err(), "InvalidParameterValue");
    assert_eq!(given(&[("instance", &[("aws:a", "1")])]).unwrap_err(), "InvalidParameterValue");
}
