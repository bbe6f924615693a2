//! Signatures: AWS's published vectors, requests signed by botocore, and everything that must be refused.

use wire::sigv4::{
    Credentials, Form, PathRule, Payload, Request, SigError, canonical_request, parse, parse_amz_date,
    presign, public_error, sign, verify,
};

const AWS: &str = include_str!("../vectors/aws-sigv4.txt");
const BOTOCORE: &str = include_str!("../vectors/botocore.txt");
const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const BOTOCORE_SECRET: &[u8] = "sécret+/key".as_bytes();

struct Vector<'a> {
    name: &'a str,
    parts: Vec<(&'a str, &'a str)>,
}

impl<'a> Vector<'a> {
    fn all(file: &'a str) -> Vec<Self> {
        let mut vectors = Vec::new();
        for block in file.split("\n===== ").skip(1) {
            let (name, rest) = block.split_once('\n').unwrap();
            let rest = rest.strip_prefix("----- ").unwrap();
            let rest = rest.strip_suffix('\n').unwrap_or(rest);
            let parts = rest.split("\n----- ").map(|part| part.split_once('\n').unwrap()).collect();
            vectors.push(Self { name, parts });
        }
        vectors
    }

    fn part(&self, name: &str) -> Option<&'a str> {
        self.parts.iter().find(|(given, _)| *given == name).map(|(_, text)| *text)
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        let mut lines = self.part("options")?.lines();
        lines.find_map(|line| line.strip_prefix(name).map(str::trim_start))
    }

    /// The request before signing. One of the suite (get-space-normalized) shows a path encoded that was then sent, and signed,
    /// without: the path is the one that was sent.
    fn unsigned(&self) -> Sent<'a> {
        let mut unsigned = Sent::read(self.part("request").unwrap());
        if self.part("options").is_some() {
            unsigned.path = Sent::read(self.part("header-signed-request").unwrap()).path;
        }
        unsigned
    }

    fn path_rule(&self) -> PathRule {
        if self.option("normalize").is_some() { PathRule::Normalized } else { PathRule::AsSent }
    }
}

/// A request as text, taken apart.
struct Sent<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: Vec<(String, Vec<u8>)>,
    body: &'a str,
}

impl<'a> Sent<'a> {
    fn read(text: &'a str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let target = target.strip_suffix(" HTTP/1.1").unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        for line in lines {
            if line.starts_with(' ') {
                let folded = &mut headers.last_mut().unwrap().1;
                folded.push(b'\n');
                folded.extend_from_slice(line.as_bytes());
            } else {
                let (name, value) = line.split_once(':').unwrap();
                headers.push((name.to_owned(), value.into()));
            }
        }
        Self { method, path, query, headers, body: body.trim_end_matches('\n') }
    }

    fn with<T>(&self, check: impl FnOnce(Request<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        check(Request { method: self.method, path: self.path, query: self.query, headers: &headers })
    }

    fn payload(&self) -> Payload {
        Payload::of(self.body.as_bytes())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    fn check(&self, secret: &[u8], now: i64) -> Result<(), SigError> {
        self.with(|request| verify(&parse(&request)?, &request, &self.payload(), secret, now))
    }
}

fn at(iso: &str) -> i64 {
    parse_amz_date(&iso.replace(['-', ':'], "")).unwrap()
}

fn credentials<'a>(vector: &Vector<'a>) -> Credentials<'a> {
    let mut credentials = Credentials::new("AKIDEXAMPLE", SECRET, "us-east-1", "service");
    credentials.path_rule = vector.path_rule();
    credentials.session_token = vector.option("token").filter(|_| vector.option("late_token").is_none());
    credentials
}

#[test]
fn the_published_vectors_verify_in_both_forms() {
    let mut verified = 0;
    for vector in Vector::all(AWS) {
        for part in ["header-signed-request", "query-signed-request"] {
            let (Some(text), Some(now)) = (vector.part(part), vector.option("now")) else { continue };
            let sent = Sent::read(text);
            sent.with(|request| {
                let context = format!("{} {part}", vector.name);
                let mut signed = parse(&request).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                signed.path_rule = vector.path_rule();
                assert_eq!(signed.access_key_id, "AKIDEXAMPLE", "{context}");
                assert_eq!(
                    (signed.region.as_str(), signed.service.as_str()),
                    ("us-east-1", "service"),
                    "{context}"
                );
                assert_eq!(signed.session_token.as_deref(), vector.option("token"), "{context}");
                let form =
                    if part.starts_with("query") { Form::Query { expires: 3600 } } else { Form::Header };
                assert_eq!(signed.form, form, "{context}");
                let judge = |secret| verify(&signed, &request, &sent.payload(), secret, at(now));
                assert_eq!(judge(SECRET), Ok(()), "{context}");
                assert_eq!(judge(b"another"), Err(SigError::Mismatch), "{context}");
            });
            verified += 1;
        }
    }
    assert_eq!(verified, 76);
}

#[test]
fn the_published_vectors_are_what_we_sign() {
    let mut signed = 0;
    for vector in Vector::all(AWS) {
        let Some(now) = vector.option("now") else { continue };
        let credentials = credentials(&vector);
        let mut sent = vector.unsigned();
        let expected = vector.part("query-signature").unwrap().trim();
        let query = sent.with(|r| presign(&r, &sent.payload(), &credentials, at(now), 3600)).unwrap();
        assert!(query.ends_with(&format!("&X-Amz-Signature={expected}")), "{}: {query}", vector.name);

        if vector.option("sign_body").is_some() {
            let Payload::Sha256(hash) = sent.payload() else { panic!("a hash") };
            sent.set("x-amz-content-sha256", &hash);
        }
        let expected = vector.part("header-signature").unwrap().trim();
        let added = sent.with(|r| sign(&r, &sent.payload(), &credentials, at(now))).unwrap();
        let (_, authorization) = added.iter().find(|(name, _)| *name == "authorization").unwrap();
        assert!(
            authorization.ends_with(&format!(" Signature={expected}")),
            "{}: {authorization}",
            vector.name
        );
        signed += 1;
    }
    assert_eq!(signed, 38);
}

#[test]
fn the_published_canonical_requests_are_ours() {
    let mut same = 0;
    for vector in Vector::all(AWS) {
        let expected = vector.part("header-canonical-request").unwrap().trim_end();
        let mut lines = expected.lines().rev();
        let (hash, names) = (lines.next().unwrap(), lines.next().unwrap());
        let names: Vec<String> = names.split(';').map(str::to_owned).collect();
        let mut sent = vector.unsigned();
        let rule = if vector.part("options").is_some() { vector.path_rule() } else { PathRule::Normalized };
        // The request is the one before signing.
        for line in expected.lines().filter(|line| line.starts_with("x-amz-")) {
            if let Some((name, value)) = line.split_once(':') {
                sent.set(name, value);
            }
        }
        let canonical = sent.with(|request| canonical_request(&request, rule, &names, hash)).unwrap();
        assert_eq!(String::from_utf8(canonical).unwrap(), expected, "{}", vector.name);
        same += 1;
    }
    assert_eq!(same, 40);
}

#[test]
fn what_botocore_signs_verifies() {
    let now = at("20260102T030405Z");
    let vectors = Vector::all(BOTOCORE);
    assert_eq!(vectors.len(), 12);
    for vector in vectors {
        let sent = Sent::read(vector.part("request").unwrap());
        sent.with(|request| {
            let signed = parse(&request).unwrap_or_else(|error| panic!("{}: {error:?}", vector.name));
            assert_eq!(signed.access_key_id, "AKIDNUBE");
            assert_eq!(signed.session_token.as_deref(), vector.option("token"), "{}", vector.name);
            signed.check_scope("us-east-1", vector.option("service").unwrap()).unwrap();
            assert_eq!(signed.check_scope("eu-west-1", &signed.service), Err(SigError::WrongScope));
        });
        assert_eq!(sent.check(BOTOCORE_SECRET, now), Ok(()), "{}", vector.name);
        assert_eq!(sent.check(b"other", now), Err(SigError::Mismatch), "{}", vector.name);
    }
}

const POST: &str = "POST / HTTP/1.1\nHost:ec2.us-east-1.amazonaws.com\nContent-Type:application/x-www-form-urlencoded\n\nAction=DescribeRegions";
const NOW: i64 = 1_767_323_045;

fn signed_post() -> Sent<'static> {
    let mut sent = Sent::read(POST);
    let credentials = Credentials::new("AKID", SECRET, "us-east-1", "ec2");
    let added = sent.with(|request| sign(&request, &sent.payload(), &credentials, NOW)).unwrap();
    for (name, value) in added {
        sent.set(name, &value);
    }
    sent
}

fn presigned(expires: i64) -> String {
    let mut sent = Sent::read("GET / HTTP/1.1\nHost:ec2.us-east-1.amazonaws.com\n");
    sent.query = "Action=DescribeRegions";
    let credentials = Credentials::new("AKID", SECRET, "us-east-1", "ec2");
    sent.with(|request| presign(&request, &sent.payload(), &credentials, NOW, expires)).unwrap()
}

fn get(query: &str) -> Sent<'_> {
    let mut sent = Sent::read("GET / HTTP/1.1\nHost:ec2.us-east-1.amazonaws.com\n");
    sent.query = query;
    sent
}

#[test]
fn any_change_of_what_was_signed_is_noticed() {
    assert_eq!(signed_post().check(SECRET, NOW), Ok(()));
    let changes: [fn(&mut Sent); 6] = [
        |sent| sent.method = "PUT",
        |sent| sent.path = "/x",
        |sent| sent.query = "a=b",
        |sent| sent.body = "Action=DescribeRegiont",
        |sent| sent.set("host", "other"),
        |sent| sent.set("x-amz-date", "20260102T030406Z"),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut sent = signed_post();
        change(&mut sent);
        assert_eq!(sent.check(SECRET, NOW), Err(SigError::Mismatch), "change {n}");
    }
    let query = presigned(60);
    assert_eq!(get(&query).check(SECRET, NOW), Ok(()));
    for (from, to) in
        [("Action=D", "Action=E"), ("X-Amz-Expires=60", "X-Amz-Expires=61"), ("us-east-1", "us-east-2")]
    {
        assert_eq!(get(&query.replace(from, to)).check(SECRET, NOW), Err(SigError::Mismatch), "{from}");
    }
}

#[test]
fn the_clock_may_be_fifteen_minutes_off() {
    for (skew, verdict) in
        [(900, Ok(())), (-900, Ok(())), (901, Err(SigError::Skewed)), (-901, Err(SigError::Skewed))]
    {
        assert_eq!(signed_post().check(SECRET, NOW + skew), verdict, "{skew}");
    }
}

#[test]
fn a_presigned_request_lives_as_long_as_it_says_and_at_most_a_week() {
    let query = presigned(60);
    for (age, verdict) in [
        (0, Ok(())),
        (60, Ok(())),
        (61, Err(SigError::Expired)),
        (-900, Ok(())),
        (-901, Err(SigError::Skewed)),
    ] {
        assert_eq!(get(&query).check(SECRET, NOW + age), verdict, "{age}");
    }
    assert_eq!(get(&presigned(604_800)).check(SECRET, NOW + 604_800), Ok(()));
    for expires in [0, 604_801, -1] {
        let query = presigned(expires);
        assert_eq!(get(&query).check(SECRET, NOW), Err(SigError::Malformed("X-Amz-Expires")), "{expires}");
    }
}

#[test]
fn a_signature_with_a_part_missing_or_unreadable_is_named_as_such() {
    let good = signed_post();
    let authorization = String::from_utf8(good.headers.last().unwrap().1.clone()).unwrap();
    let answer = |authorization: &str| {
        let mut sent = signed_post();
        sent.set("authorization", authorization);
        sent.check(SECRET, NOW)
    };
    assert_eq!(answer(&authorization), Ok(()));
    assert_eq!(answer(&authorization.replace(", ", ",")), Ok(()), "spaces do not matter");
    for (from, to, error) in [
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", SigError::UnsupportedAlgorithm),
        ("AWS4-HMAC-SHA256 ", "Basic ", SigError::UnsupportedAlgorithm),
        ("Credential=", "Cred=", SigError::Malformed("Authorization")),
        ("SignedHeaders=content-type;host;x-amz-date, ", "", SigError::Incomplete("SignedHeaders")),
        (
            "SignedHeaders=content-type;host",
            "SignedHeaders=content-type",
            SigError::UnsignedHeader("host".into()),
        ),
        ("content-type;", "content-type;x-more;", SigError::AbsentHeader("x-more".into())),
        ("content-type;", "content-type;;", SigError::Malformed("SignedHeaders")),
        ("AKID/", "", SigError::Malformed("Credential")),
        ("aws4_request", "aws3_request", SigError::Malformed("Credential")),
        ("20260102", "20260103", SigError::ScopeDate),
        ("Signature=", "Signature=zz", SigError::Malformed("Signature")),
    ] {
        assert!(authorization.contains(from));
        assert_eq!(answer(&authorization.replacen(from, to, 1)), Err(error), "{from} → {to}");
    }
    let mut sent = signed_post();
    sent.headers.retain(|(name, _)| name != "x-amz-date");
    assert_eq!(sent.check(SECRET, NOW), Err(SigError::Incomplete("X-Amz-Date or Date")));
    sent.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(sent.check(SECRET, NOW), Err(SigError::Missing));

    let query = presigned(60);
    for name in ["X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"]
    {
        let renamed = query.replace(&format!("{name}="), "other=");
        assert_eq!(get(&renamed).check(SECRET, NOW), Err(SigError::Incomplete(name)));
        let twice = format!("{query}&{name}=x");
        assert_eq!(get(&twice).check(SECRET, NOW), Err(SigError::Malformed(name)));
    }
    let mut both = signed_post();
    both.query = &query;
    assert_eq!(both.check(SECRET, NOW), Err(SigError::Ambiguous));
}

#[test]
fn an_amz_header_that_is_not_signed_is_refused() {
    let mut sent = signed_post();
    sent.set("X-Amz-Target", "Service.Operation");
    assert_eq!(sent.check(SECRET, NOW), Err(SigError::UnsignedHeader("x-amz-target".into())));
}

#[test]
fn only_s3_may_leave_its_payload_unsigned() {
    for (service, unread, read) in
        [("s3", Ok(()), Ok(())), ("ec2", Err(SigError::UnsignedPayload), Err(SigError::UnsignedPayload))]
    {
        let mut sent = Sent::read(POST);
        sent.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        let credentials = Credentials::new("AKID", SECRET, "us-east-1", service);
        // For S3 the signer adds the header itself; once is enough.
        if service == "s3" {
            sent.headers.pop();
        }
        for (name, value) in sent.with(|r| sign(&r, &Payload::Unread, &credentials, NOW)).unwrap() {
            sent.set(name, &value);
        }
        sent.with(|request| {
            let signed = parse(&request).unwrap();
            assert_eq!(signed.is_payload_unsigned(), service == "s3");
            assert_eq!(verify(&signed, &request, &Payload::Unread, SECRET, NOW), unread, "{service}");
            assert_eq!(verify(&signed, &request, &sent.payload(), SECRET, NOW), read, "{service}");
        });
    }
    signed_post().with(|request| {
        let signed = parse(&request).unwrap();
        let unread = verify(&signed, &request, &Payload::Unread, SECRET, NOW);
        assert_eq!(unread, Err(SigError::UnsignedPayload), "an unread body is not an empty one");
    });
}

#[test]
fn a_body_other_than_the_named_one_is_refused() {
    let mut sent = Sent::read(POST);
    let credentials = Credentials::new("AKID", SECRET, "us-east-1", "s3");
    for (name, value) in sent.with(|r| sign(&r, &sent.payload(), &credentials, NOW)).unwrap() {
        sent.set(name, &value);
    }
    assert_eq!(sent.check(SECRET, NOW), Ok(()));
    sent.body = "another";
    assert_eq!(sent.check(SECRET, NOW), Err(SigError::PayloadMismatch));
}

/// Bytes of a good request replaced, dropped and doubled at random: an answer always, and never a false yes.
#[test]
fn garbled_signatures_are_answered() {
    let mut state: u64 = 42;
    let mut roll = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let authorization = signed_post().headers.last().unwrap().1.clone();
    let query = presigned(60);
    let mut refused = 0;
    for _ in 0..20_000 {
        let in_query = roll(2) == 0;
        let mut bytes = if in_query { query.clone().into_bytes() } else { authorization.clone() };
        for _ in 0..=roll(4) {
            let at = roll(bytes.len());
            match roll(3) {
                0 => bytes[at] = [b'/', b'=', b',', b';', b'&', b'%', b' ', b'0', b'z', 0xc3][roll(10)],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (mut sent, secret) = (if in_query { get(&text) } else { signed_post() }, b"not the secret");
        if !in_query {
            sent.headers.pop();
            sent.headers.push(("authorization".to_owned(), bytes));
        }
        assert!(sent.check(secret, NOW).is_err());
        refused += usize::from(sent.check(SECRET, NOW).is_err());
    }
    assert!(refused > 19_000, "{refused}");
}

#[test]
fn each_family_of_services_has_its_own_codes() {
    let table = [
        (SigError::Mismatch, "ec2", "AuthFailure", 401),
        (SigError::UnknownKey, "ec2", "AuthFailure", 401),
        (SigError::Missing, "ec2", "MissingAuthenticationToken", 403),
        (SigError::Skewed, "ec2", "RequestExpired", 400),
        (SigError::Incomplete("Signature"), "ec2", "IncompleteSignature", 400),
        (SigError::Mismatch, "sts", "SignatureDoesNotMatch", 403),
        (SigError::UnknownKey, "iam", "InvalidClientTokenId", 403),
        (SigError::ExpiredToken, "sts", "ExpiredToken", 403),
        (SigError::Mismatch, "ssm", "InvalidSignatureException", 400),
        (SigError::Mismatch, "lambda", "InvalidSignatureException", 403),
        (SigError::UnknownKey, "dynamodb", "UnrecognizedClientException", 400),
        (SigError::UnknownKey, "s3", "InvalidAccessKeyId", 403),
        (SigError::Skewed, "s3", "RequestTimeTooSkewed", 403),
    ];
    for (error, service, code, status) in table {
        assert_eq!(public_error(service, &error), (code, status), "{service}: {error:?}");
        assert!(error.to_string().ends_with('.'));
    }
}
