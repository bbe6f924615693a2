//! From a decoded HTTP request to an encoded answer: for every operation of every service the same steps.
//!
//! decode → view → touches → policy → client token → operation → dry run → commit → encode. A service registers its
//! operations as one of five kinds, by what they need; the kind decides what surrounds them, so that no operation can
//! forget a step.

use crate::cloud::Mode;
use crate::metrics::OperationMetrics;
use crate::token::Token;
use crate::{Context, Result, Tables, Touched, Txn, errors};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use wire::ec2::Answer;
use wire::{
    ApiError, Body, Operation, OperationShape, Parameters, Protocol, Response, ServiceShape, Structure,
    ValueRef,
};

type Reply = Pin<Box<dyn Future<Output = Result<Response>> + Send>>;
type Built = Box<dyn Fn(Context, Parameters<'_>) -> Reply + Send + Sync>;
/// A prelude under way.
pub type Preparing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What must be there before any operation of a service runs for an account.
#[derive(Clone, Copy)]
pub struct Prelude {
    /// Asked before every operation.
    pub is_there: fn(&Context, &Tables) -> bool,
    /// Makes it.
    pub run: fn(Context) -> Preparing,
}

/// What an operation touches, by its request and the present state.
pub type Touches<O> = fn(&Context, &<O as Operation>::Input, &Tables) -> Vec<Touched>;
/// Answers from the present state.
pub type Read<O> = fn(&Context, &<O as Operation>::Input, &Tables) -> Result<<O as Operation>::Output>;
/// Decides and writes intent. Runs again on a conflict.
pub type Write<O> = fn(&Context, &<O as Operation>::Input, &mut Txn<'_>) -> Result<<O as Operation>::Output>;

/// Looks at something outside the store (a file), on a thread that may wait.
pub type Look<O, S> = fn(&Context, &<O as Operation>::Input) -> S;
/// As [`Write`], by what was seen.
pub type WriteSeeing<O, S> =
    fn(&Context, &<O as Operation>::Input, &S, &mut Txn<'_>) -> Result<<O as Operation>::Output>;

/// A service: its model, and the operations of it that are built.
pub struct Service {
    shape: &'static ServiceShape,
    built: HashMap<&'static str, Built>,
    prelude: Option<Prelude>,
    metrics: HashMap<&'static str, OperationMetrics>,
    /// Of what is asked for and not built.
    unbuilt: OperationMetrics,
}

impl Service {
    pub fn new(shape: &'static ServiceShape) -> Self {
        Self {
            shape,
            built: HashMap::new(),
            prelude: None,
            metrics: HashMap::new(),
            unbuilt: OperationMetrics::default(),
        }
    }

    pub fn shape(&self) -> &'static ServiceShape {
        self.shape
    }

    /// The operations that are built, in the order of the model.
    pub fn built(&self) -> impl Iterator<Item = &'static OperationShape> {
        self.shape.operations.iter().copied().filter(|op| self.built.contains_key(op.name))
    }

    /// The counters of an operation's requests; one for all that are not built, so that nobody makes names up.
    pub fn metrics(&self, action: &str) -> &OperationMetrics {
        self.metrics.get(action).unwrap_or(&self.unbuilt)
    }

    /// The operations that are built with their counters, in the order of the model, then what is not built as "other".
    pub fn all_metrics(&self) -> impl Iterator<Item = (&'static str, &OperationMetrics)> {
        let built =
            self.built().filter_map(|operation| Some((operation.name, self.metrics.get(operation.name)?)));
        built.chain([("other", &self.unbuilt)])
    }

    /// Runs before every operation: an account's defaults are made here, on first use.
    pub fn prelude(&mut self, prelude: Prelude) -> &mut Self {
        self.prelude = Some(prelude);
        self
    }

    /// Registers an operation that only reads.
    pub fn read<O: Operation>(&mut self, _: O, touches: Touches<O>, run: Read<O>) -> &mut Self {
        let service = self.shape;
        self.reads::<O>(touches, move |ctx, request, tables| {
            let output = run(ctx, request, tables)?;
            let request_id = ctx.request_id.clone();
            // Encoding needs the tables no more, and may take long.
            Ok(Box::new(move || encode(service, O::SHAPE, &output, &request_id)))
        })
    }

    /// Registers an operation that only reads, and writes its answer itself: for answers that are mostly encoded already.
    /// The service must speak the ec2 protocol.
    pub fn read_encoded<O, F>(&mut self, _: O, touches: Touches<O>, run: F) -> &mut Self
    where
        O: Operation,
        F: Fn(&Context, &O::Input, &Tables, &mut Answer) -> Result<()> + Send + Sync + 'static,
    {
        let service = self.shape;
        debug_assert_eq!(service.protocol, Protocol::Ec2);
        self.reads::<O>(touches, move |ctx, request, tables| {
            let mut answer = Answer::begin(service, O::SHAPE, &ctx.request_id);
            run(ctx, request, tables, &mut answer)?;
            Ok(Box::new(|| answer.finish().into()))
        })
    }

    fn reads<O: Operation>(
        &mut self,
        touches: Touches<O>,
        run: impl Fn(&Context, &O::Input, &Tables) -> Result<Box<dyn FnOnce() -> Response>>
        + Send
        + Sync
        + 'static,
    ) -> &mut Self {
        let service = self.shape;
        let action = action::<O>(service);
        self.add::<O>(Box::new(move |ctx, parameters| {
            let done = (|| {
                let request = parameters.decode::<O>(service.protocol)?;
                let encode = {
                    let tables = ctx.cloud.view.read();
                    authorize(service, &action, &ctx, &touches(&ctx, &request, &tables))?;
                    let encode = run(&ctx, &request, &tables)?;
                    refuse_dry_run(service, &request)?;
                    encode
                };
                Ok(encode())
            })();
            Box::pin(std::future::ready(done))
        }))
    }

    /// Registers an operation that changes state by what it reads by id.
    pub fn write<O: Operation>(&mut self, _: O, touches: Touches<O>, run: Write<O>) -> &mut Self {
        self.transaction::<O>(Mode::Shared, touches, run)
    }

    /// Registers an operation that decides upon the absence of something, such as a delete that nothing may depend on.
    pub fn exclusive<O: Operation>(&mut self, _: O, touches: Touches<O>, run: Write<O>) -> &mut Self {
        self.transaction::<O>(Mode::Exclusive, touches, run)
    }

    /// As [`Self::exclusive`], of an operation that decides by something outside the store as well. It looks after authorization and
    /// before the transaction, which waits for nothing; what was not to be seen is for `run` to tell, if it matters still.
    pub fn exclusive_seeing<O: Operation, S: Send + Sync + 'static>(
        &mut self,
        _: O,
        touches: Touches<O>,
        look: Look<O, S>,
        run: WriteSeeing<O, S>,
    ) -> &mut Self {
        self.decided::<O>(Mode::Exclusive, move |request| {
            Box::new(AskedSeeing::<O, S> { request, touches, look, seen: None, run })
        })
    }

    /// Registers an operation that must wait for something beside the store (a host's console, a costly computation).
    /// It runs after authorization and the dry-run answer, outside any transaction.
    pub fn call<O, F>(&mut self, _: O, touches: Touches<O>, run: fn(Context, O::Input) -> F) -> &mut Self
    where
        O: Operation,
        F: Future<Output = Result<O::Output>> + Send + 'static,
    {
        let service = self.shape;
        let action: Arc<str> = action::<O>(service).into();
        self.add::<O>(Box::new(move |ctx, parameters| {
            let request = parameters.decode::<O>(service.protocol);
            let action = Arc::clone(&action);
            Box::pin(async move {
                let request = request?;
                {
                    let tables = ctx.cloud.view.read();
                    authorize(service, &action, &ctx, &touches(&ctx, &request, &tables))?;
                }
                refuse_dry_run(service, &request)?;
                let request_id = ctx.request_id.clone();
                let output = run(ctx, request).await?;
                Ok(encode(service, O::SHAPE, &output, &request_id))
            })
        }))
    }

    fn transaction<O: Operation>(&mut self, mode: Mode, touches: Touches<O>, run: Write<O>) -> &mut Self {
        self.decided::<O>(mode, move |request| Box::new(Asked::<O> { request, touches, run }))
    }

    fn decided<O: Operation>(
        &mut self,
        mode: Mode,
        ask: impl Fn(O::Input) -> Box<dyn Deciding> + Send + Sync + 'static,
    ) -> &mut Self {
        let service = self.shape;
        let action: Arc<str> = action::<O>(service).into();
        self.add::<O>(Box::new(move |ctx, parameters| {
            let deciding = parameters.decode::<O>(service.protocol).map(&ask);
            let transaction = Transaction { service, operation: O::SHAPE, action: Arc::clone(&action), mode };
            Box::pin(transaction.run(ctx, deciding))
        }))
    }

    fn add<O: Operation>(&mut self, built: Built) -> &mut Self {
        let earlier = self.built.insert(O::NAME, built);
        debug_assert!(earlier.is_none(), "{} is registered twice", O::NAME);
        self.metrics.insert(O::NAME, OperationMetrics::default());
        self
    }

    /// Runs the operation called `action` and answers with the encoded output, or the error for the caller.
    pub async fn dispatch<'a>(
        &self,
        ctx: Context,
        action: &str,
        parameters: impl Into<Parameters<'a>>,
    ) -> Result<Response> {
        let parameters = parameters.into();
        let Some(built) = self.built.get(action) else {
            let known = self.shape.operation(action);
            return Err(
                known.map_or_else(|| self.shape.unknown_action(action), |op| self.shape.not_built(op))
            );
        };
        let due = self.prelude.filter(|prelude| !(prelude.is_there)(&ctx, &ctx.cloud.view.read()));
        if let Some(prelude) = due {
            (prelude.run)(ctx.clone()).await?;
        }
        built(ctx, parameters).await
    }

    /// Of its answers and its errors.
    pub fn content_type(&self) -> &'static str {
        match self.shape.protocol {
            protocol @ (Protocol::Json10 | Protocol::Json11) => wire::json::content_type(protocol),
            Protocol::RestJson => wire::rest_json::CONTENT_TYPE,
            _ => wire::ec2::CONTENT_TYPE,
        }
    }

    /// The error in the service's own envelope.
    pub fn encode_error(&self, error: &ApiError, request_id: &str) -> Response {
        let body = match self.shape.protocol {
            Protocol::Query => wire::query::encode_error(self.shape, error, request_id),
            Protocol::Json10 | Protocol::Json11 => wire::json::encode_error(error),
            Protocol::RestJson => return wire::rest_json::encode_error(self.shape, error),
            _ => wire::ec2::encode_error(error, request_id),
        };
        Response { status: error.status(), ..Body::from(body).into() }
    }
}

/// An operation that changes state, apart from its types: so what surrounds all of them is compiled once.
struct Transaction {
    service: &'static ServiceShape,
    operation: &'static OperationShape,
    action: Arc<str>,
    mode: Mode,
}

/// A request that is decided upon.
trait Deciding: Send + Sync {
    fn request(&self) -> &dyn Structure;
    fn touches(&self, ctx: &Context, tables: &Tables) -> Vec<Touched>;
    fn decide(&self, ctx: &Context, txn: &mut Txn<'_>) -> Result<Box<dyn Structure + Send>>;

    /// Whether it must [`look`](Self::look) before it decides.
    fn looks(&self) -> bool {
        false
    }

    fn look(&mut self, _: &Context) {}
}

struct Asked<O: Operation> {
    request: O::Input,
    touches: Touches<O>,
    run: Write<O>,
}

impl<O: Operation> Deciding for Asked<O> {
    fn request(&self) -> &dyn Structure {
        &self.request
    }

    fn touches(&self, ctx: &Context, tables: &Tables) -> Vec<Touched> {
        (self.touches)(ctx, &self.request, tables)
    }

    fn decide(&self, ctx: &Context, txn: &mut Txn<'_>) -> Result<Box<dyn Structure + Send>> {
        Ok(Box::new((self.run)(ctx, &self.request, txn)?))
    }
}

struct AskedSeeing<O: Operation, S> {
    request: O::Input,
    touches: Touches<O>,
    look: Look<O, S>,
    seen: Option<S>,
    run: WriteSeeing<O, S>,
}

impl<O: Operation, S: Send + Sync> Deciding for AskedSeeing<O, S> {
    fn request(&self) -> &dyn Structure {
        &self.request
    }

    fn touches(&self, ctx: &Context, tables: &Tables) -> Vec<Touched> {
        (self.touches)(ctx, &self.request, tables)
    }

    fn decide(&self, ctx: &Context, txn: &mut Txn<'_>) -> Result<Box<dyn Structure + Send>> {
        let seen = self.seen.as_ref().ok_or_else(|| errors::internal("nothing was looked at"))?;
        Ok(Box::new((self.run)(ctx, &self.request, seen, txn)?))
    }

    fn looks(&self) -> bool {
        true
    }

    fn look(&mut self, ctx: &Context) {
        self.seen = Some((self.look)(ctx, &self.request));
    }
}

/// What a transaction came to.
enum Decided {
    Encoded(Response),
    Output(Box<dyn Structure + Send>),
}

impl Transaction {
    async fn run(self, ctx: Context, asked: Result<Box<dyn Deciding>>) -> Result<Response> {
        let (mut asked, cloud) = (asked?, Arc::clone(&ctx.cloud));
        if asked.looks() {
            let touched = asked.touches(&ctx, &cloud.view.read());
            authorize(self.service, &self.action, &ctx, &touched)?;
            let looking = ctx.clone();
            let looked = tokio::task::spawn_blocking(move || {
                asked.look(&looking);
                asked
            });
            asked = looked.await.map_err(errors::internal)?;
        }
        let encode = |output: &dyn Structure| encode(self.service, self.operation, output, &ctx.request_id);
        let decide = |txn: &mut Txn<'_>| {
            authorize(self.service, &self.action, &ctx, &asked.touches(&ctx, txn.tables()))?;
            let token = Token::of(&ctx, self.operation.name, asked.request());
            if let Some(token) = &token
                && let Some(answer) = token.replay(&ctx, txn, self.service.protocol)?
            {
                refuse_dry_run(self.service, asked.request())?;
                return Ok(Decided::Encoded(replayed(self.service, self.operation, answer.into())));
            }
            let output = asked.decide(&ctx, txn)?;
            // The transaction is dropped: a dry run has decided everything and changed nothing.
            refuse_dry_run(self.service, asked.request())?;
            let Some(token) = token else { return Ok(Decided::Output(output)) };
            let response = encode(&*output);
            token.remember(&ctx, txn, &response.body.clone().into_bytes());
            Ok(Decided::Encoded(response))
        };
        let encoded = |decided| match decided {
            Decided::Encoded(response) => response,
            Decided::Output(output) => encode(&*output),
        };
        cloud.transact_while(self.mode, decide, encoded).await
    }
}

fn encode(
    service: &ServiceShape,
    operation: &OperationShape,
    output: &dyn Structure,
    request_id: &str,
) -> Response {
    let body: Body = match service.protocol {
        Protocol::Query => wire::query::encode(service, operation, output, request_id).into(),
        Protocol::Json10 | Protocol::Json11 => wire::json::encode(output).into(),
        Protocol::RestJson => return wire::rest_json::encode(operation, output),
        _ => wire::ec2::encode(service, operation, output, request_id).into(),
    };
    body.into()
}

/// The answer that a token had before. Only the body is remembered: no operation with a token answers in headers.
fn replayed(service: &ServiceShape, operation: &OperationShape, body: Body) -> Response {
    let status = if service.protocol == Protocol::RestJson { operation.status } else { 200 };
    Response { status, ..body.into() }
}

/// As policies name it.
fn action<O: Operation>(service: &ServiceShape) -> String {
    format!("{}:{}", service.name, O::NAME)
}

fn authorize(service: &ServiceShape, action: &str, ctx: &Context, touched: &[Touched]) -> Result<()> {
    if ctx.cloud.policy.allows(&ctx.caller, action, touched) {
        let Some(passage) = &ctx.passage else { return Ok(()) };
        let passed = passage.permit(&ctx.caller, action, touched);
        passed.map_err(|why| errors::not_permitted(service.protocol, &why))
    } else {
        Err(match service.protocol {
            Protocol::Ec2 => errors::unauthorized(action),
            Protocol::Json10 | Protocol::Json11 => errors::access_denied_exception(&ctx.caller, action, 400),
            Protocol::RestJson => errors::access_denied_exception(&ctx.caller, action, 403),
            _ => errors::access_denied(&ctx.caller, action),
        })
    }
}

fn refuse_dry_run(service: &ServiceShape, request: &dyn Structure) -> Result<()> {
    match wire::member(request, "DryRun") {
        ValueRef::Boolean(true) if service.protocol.is_any_json() => Err(errors::dry_run_exception()),
        ValueRef::Boolean(true) => Err(errors::dry_run()),
        _ => Ok(()),
    }
}
