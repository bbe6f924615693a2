//! From a method and a path to an operation, by the templates of the model: `/snapshots/{snapshotId}/blocks`.
//!
//! A label stands for one segment that is not empty, a greedy one (`{key+}`) for one or more. A template may ask for parameters of
//! the query (`/buckets?acl`). Of several that fit the most literal one is meant. Slashes at the end count for nothing.

use crate::{OperationShape, ServiceShape};

/// What a segment of a template is, the better fit first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment<'a> {
    Literal(&'a str),
    Label(&'a str),
    Greedy(&'a str),
}

impl<'a> Segment<'a> {
    fn parse(text: &'a str) -> Self {
        match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Greedy(name),
                None => Self::Label(name),
            },
            None => Self::Literal(text),
        }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Label(_) => 1,
            Self::Greedy(_) => 2,
        }
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.trim_start_matches('/').trim_end_matches('/').split('/')
}

/// Template and the parameters that it asks for.
fn halves(uri: &str) -> (&str, &str) {
    uri.split_once('?').unwrap_or((uri, ""))
}

/// What the labels of a template stand for in a path, as it was sent; `None`: the path does not fit.
pub fn labels<'a>(uri: &'a str, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let mut template = segments(halves(uri).0).map(Segment::parse);
    let mut rest = path.trim_start_matches('/').trim_end_matches('/');
    let mut ended = false;
    let mut found = Vec::new();
    while let Some(segment) = template.next() {
        if ended {
            return None;
        }
        let (here, after) = match segment {
            Segment::Greedy(_) => {
                let behind = template.clone().count();
                let cut = rest.rmatch_indices('/').nth(behind.checked_sub(1).unwrap_or(usize::MAX));
                match (behind, cut) {
                    (0, _) => (rest, None),
                    (_, Some((at, _))) => (&rest[..at], Some(&rest[at + 1..])),
                    (_, None) => return None,
                }
            }
            Segment::Literal(_) | Segment::Label(_) => match rest.split_once('/') {
                Some((here, after)) => (here, Some(after)),
                None => (rest, None),
            },
        };
        match segment {
            Segment::Literal(text) if text == here => {}
            Segment::Label(name) | Segment::Greedy(name) if !here.is_empty() => found.push((name, here)),
            _ => return None,
        }
        match after {
            Some(after) => rest = after,
            None => ended = true,
        }
    }
    ended.then_some(found)
}

/// Whether the query has what a template asks for.
fn has(query: &str, asked: &str) -> bool {
    asked.split('&').filter(|asked| !asked.is_empty()).all(|asked| {
        query.split('&').any(|given| {
            given == asked
                || (!asked.contains('=') && given.split_once('=').is_some_and(|(name, _)| name == asked))
        })
    })
}

/// The operation that a method and a path name.
pub fn route(
    service: &ServiceShape,
    method: &str,
    path: &str,
    query: &str,
) -> Option<&'static OperationShape> {
    let fits = service.operations.iter().copied().filter(|operation| {
        operation.method == method
            && has(query, halves(operation.uri).1)
            && labels(operation.uri, path).is_some()
    });
    fits.min_by_key(|operation| {
        let (template, asked) = halves(operation.uri);
        let ranks: Vec<u8> = segments(template).map(|text| Segment::parse(text).rank()).collect();
        (ranks, std::cmp::Reverse(asked.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn operation(name: &'static str, method: &'static str, uri: &'static str) -> OperationShape {
        OperationShape { name, method, uri, ..OperationShape::BASE }
    }

    static LIST: OperationShape = operation("List", "GET", "/things");
    static ACL: OperationShape = operation("Acl", "GET", "/things/{name}?acl");
    static GET: OperationShape = operation("Get", "GET", "/things/{name}");
    static SELF: OperationShape = operation("Self", "GET", "/things/self");
    static OBJECT: OperationShape = operation("Object", "GET", "/things/{name}/of/{key+}");
    static TAGGED: OperationShape = operation("Tagged", "GET", "/things/{name}/of/{key+}/tags");
    static PUT: OperationShape = operation("Put", "PUT", "/things/{name}/");
    static SERVICE: ServiceShape = ServiceShape {
        name: "things",
        api_version: "1",
        protocol: crate::Protocol::RestJson,
        xml_namespace: "",
        operations: &[&LIST, &GET, &ACL, &SELF, &OBJECT, &TAGGED, &PUT],
    };

    fn named(method: &str, path: &str, query: &str) -> Option<&'static str> {
        route(&SERVICE, method, path, query).map(|operation| operation.name)
    }

    #[test]
    fn the_most_literal_template_is_meant() {
        for (method, path, query, name) in [
            ("GET", "/things", "", Some("List")),
            ("GET", "/things/", "x=1", Some("List")),
            ("GET", "/things/a", "", Some("Get")),
            ("GET", "/things/a", "acl", Some("Acl")),
            ("GET", "/things/a", "acl=&b=c", Some("Acl")),
            ("GET", "/things/self", "", Some("Self")),
            ("GET", "/things/a/of/b/c", "", Some("Object")),
            ("GET", "/things/a/of/b/c/tags", "", Some("Object")),
            ("PUT", "/things/a", "", Some("Put")),
            ("PUT", "/things/a/", "", Some("Put")),
            ("DELETE", "/things/a", "", None),
            ("GET", "/", "", None),
            ("GET", "/other", "", None),
            ("GET", "/things//of/b", "", None),
            ("GET", "/things/a/of", "", None),
            ("GET", "", "", None),
        ] {
            assert_eq!(named(method, path, query), name, "{method} {path}?{query}");
        }
    }

    #[test]
    fn labels_are_what_stands_in_their_place() {
        assert_eq!(labels("/a/{b}/c", "/a/x%2Fy/c"), Some(vec![("b", "x%2Fy")]));
        assert_eq!(labels("/a/{b}/{c+}/d", "/a/x/y/z/d"), Some(vec![("b", "x"), ("c", "y/z")]));
        assert_eq!(labels("/a/{c+}", "/a/x/y"), Some(vec![("c", "x/y")]));
        for path in ["/a/x", "/a/x/c/d", "/a//c", "/b/x/c", "a"] {
            assert_eq!(labels("/a/{b}/c", path), None, "{path}");
        }
        assert_eq!(labels("/a/{c+}/d", "/a/d"), None);
    }
}
