//! A cloud of one noun, the note, and a service of a few operations on it.

use control::access::AllowAll;
use control::entropy::SeededEntropy;
use control::keys::RootKey;
use control::token::UsedToken;
use control::view::IndexValue;
use control::{
    Arn, Caller, Cloud, Context, Policy, Record, RegionSettings, Schema, Service, Settings, Touched, View,
    errors,
};
use model::clock::ManualClock;
use model::{AccessKeyId, AccountId, Clock as _, CloudTag, Region, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{Memory, Store};
use wire::{ApiError, Form, Member, Operation, OperationShape, Protocol, ServiceShape, StructShape, Target};

pub const ALICE: AccountId = AccountId::from_number(111_111_111_111);
pub const BOB: AccountId = AccountId::from_number(222_222_222_222);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub name: String,
    pub text: String,
    pub folder: String,
}

impl Note {
    pub fn new(name: &str, text: impl ToString) -> Self {
        Self { name: name.into(), text: text.to_string(), folder: String::new() }
    }

    pub fn within(name: &str, folder: &str) -> Self {
        Self { folder: folder.into(), ..Self::new(name, "") }
    }
}

impl Record for Note {
    const NOUN: &'static str = "note";
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("folder", self.folder.as_str().into())]
    }
}

pub fn region() -> Region {
    Region::parse("us-east-1").unwrap()
}

pub struct Rig {
    pub cloud: Arc<Cloud>,
    pub clock: Arc<ManualClock>,
    pub service: Service,
}

impl Rig {
    pub async fn new() -> Self {
        Self::over(Arc::new(Memory::default())).await
    }

    pub async fn over(store: Arc<dyn Store>) -> Self {
        Self::with(store, Arc::new(AllowAll)).await
    }

    pub async fn judged_by(policy: impl Policy) -> Self {
        Self::with(Arc::new(Memory::default()), Arc::new(policy)).await
    }

    async fn with(store: Arc<dyn Store>, policy: Arc<dyn Policy>) -> Self {
        let mut schema = Schema::default();
        schema.add::<Note>().add::<UsedToken>();
        let view = View::open(Arc::clone(&store), schema).await.unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_767_225_600_000)));
        let settings = Settings {
            tag: CloudTag::parse("test00").unwrap(),
            regions: vec![RegionSettings { region: region(), zones: Vec::new() }],
            byoip: Vec::new(),
            gateway_services: Vec::new(),
            public_pool: "198.18.0.0/22".parse().unwrap(),
            ipv6_pool: "fd12:3456:7800::/40".parse().unwrap(),
            overcommit: model::Overcommit::default(),
            public_images: control::PublicImages::Absent,
            status_checks: std::time::Duration::ZERO,
            buckets: None,
        };
        let entropy = Arc::new(SeededEntropy::new(1));
        let cloud = Cloud::new(store, view, clock.clone(), entropy, policy, RootKey::new([7; 32]), settings);
        Self { cloud, clock, service: service() }
    }

    pub fn context(&self, account: AccountId, request_id: &str) -> Context {
        Context {
            cloud: Arc::clone(&self.cloud),
            caller: Caller {
                account,
                access_key: AccessKeyId::parse("AKIAEXAMPLEEXAMPLE00").unwrap(),
                arn: format!("arn:aws:iam::{account}:root"),
                user_id: account.to_string(),
            },
            region: region(),
            request_id: request_id.to_owned(),
            now: self.clock.now(),
            passage: None,
        }
    }

    /// Alice's call, with the parameters as a form body.
    pub async fn call(&self, request_id: &str, action: &str, parameters: &str) -> Result<String, ApiError> {
        self.call_as(ALICE, request_id, action, parameters).await
    }

    pub async fn call_as(
        &self,
        account: AccountId,
        request_id: &str,
        action: &str,
        parameters: &str,
    ) -> Result<String, ApiError> {
        let form = Form::parse(parameters.as_bytes()).unwrap();
        let body = self.service.dispatch(self.context(account, request_id), action, &form).await?;
        Ok(String::from_utf8(body.body.into_bytes().into()).unwrap())
    }

    pub fn note(&self, name: &str) -> Option<Note> {
        self.cloud.view.read().get::<Note>(&region(), &name.to_owned()).map(|note| Note::clone(note))
    }

    pub fn notes(&self) -> usize {
        self.cloud.view.read().all::<Note>(&region()).count()
    }

    pub fn revision(&self) -> u64 {
        self.cloud.view.read().revision()
    }
}

pub struct NoteRequest {
    pub name: Option<String>,
    pub text: Option<String>,
    pub client_token: Option<String>,
    pub dry_run: Option<bool>,
}
wire::structure!(NoteRequest, NOTE_REQUEST; 0 name: None, 1 text: None, 2 client_token: None, 3 dry_run: None);
static NOTE_REQUEST: StructShape = StructShape {
    name: "NoteRequest",
    members: &[
        Member { name: "Name", target: Target::STRING, ..Member::BASE },
        Member { name: "Text", target: Target::STRING, ..Member::BASE },
        Member { name: "ClientToken", target: Target::STRING, ..Member::BASE },
        Member { name: "DryRun", target: Target::Boolean, ..Member::BASE },
    ],
    ..StructShape::BASE
};

pub struct NoteResult {
    pub text: Option<String>,
}
wire::structure!(NoteResult, NOTE_RESULT; 0 text: None);
static NOTE_RESULT: StructShape = StructShape {
    name: "NoteResult",
    members: &[Member { name: "Text", location_name: Some("text"), target: Target::STRING, ..Member::BASE }],
    ..StructShape::BASE
};

const SHAPE: OperationShape =
    OperationShape { input: &NOTE_REQUEST, output: &NOTE_RESULT, ..OperationShape::BASE };

macro_rules! operations {
    ($($name:ident)*) => {
        $(
            pub struct $name;
            impl Operation for $name {
                type Input = NoteRequest;
                type Output = NoteResult;
                const SHAPE: &'static OperationShape = &OperationShape { name: stringify!($name), ..SHAPE };
            }
        )*
        static NOTES: ServiceShape = ServiceShape {
            name: "notes",
            api_version: "2026-01-01",
            protocol: Protocol::Ec2,
            xml_namespace: "urn:notes",
            operations: &[$($name::SHAPE),*],
        };
    };
}

// In the order of their names. `Unbuilt` is never registered.
operations!(Append Fetch Print Purge Unbuilt);

fn touches(ctx: &Context, request: &NoteRequest, _: &control::Tables) -> Vec<Touched> {
    let name = request.name.clone().unwrap_or_default();
    vec![Touched::new(Arn::new("notes", &ctx.region, ctx.account(), "note", name))]
}

fn answer(text: &str) -> NoteResult {
    NoteResult { text: Some(text.to_owned()) }
}

fn name(request: &NoteRequest) -> control::Result<String> {
    request.name.clone().ok_or_else(|| errors::missing_parameter("Name"))
}

fn service() -> Service {
    let mut service = Service::new(&NOTES);
    service
        .read(Fetch, touches, |ctx, request, tables| {
            let note = tables.get::<Note>(&ctx.region, &name(request)?);
            Ok(answer(note.map_or("", |note| &note.text)))
        })
        .write(Append, touches, |ctx, request, txn| {
            let name = name(request)?;
            let before = txn.get::<Note>(&ctx.region, &name).map(|n| n.text.clone()).unwrap_or_default();
            let text = before + request.text.as_deref().unwrap_or_default();
            let note = txn.put(&ctx.region, Note::new(&name, &text));
            Ok(answer(&note.text))
        })
        .exclusive(Purge, touches, |ctx, request, txn| {
            txn.delete::<Note>(&ctx.region, &name(request)?);
            Ok(answer("purged"))
        })
        .call(Print, touches, |ctx, request| async move {
            let name = name(&request)?;
            ctx.cloud
                .transact(control::cloud::Mode::Shared, |txn| {
                    txn.put(&ctx.region, Note::new(&name, "printed"));
                    Ok(())
                })
                .await?;
            Ok(answer("printed"))
        });
    service
}
