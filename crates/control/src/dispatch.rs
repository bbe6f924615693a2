//! From a decoded HTTP request to an encoded answer: for every operation of every service the same steps.
//!
//! decode → view → touches → policy → client token → operation → dry run → commit → encode. A service registers its
//! operations as one of four kinds, by what they need; the kind decides what surrounds them, so that no operation can
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
    ApiError, Body, Operation, OperationShape, Parameters, Protocol, ServiceShape, Structure, ValueRef,
};

type Reply = Pin<Box<dyn Future<Output = Result<Body>> + Send>>;
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
            Ok(Box::new(|| answer.finish()))
        })
    }

    fn reads<O: Operation>(
        &mut self,
        touches: Touches<O>,
        run: impl Fn(&Context, &O::Input, &Tables) -> Result<Box<dyn FnOnce() -> Body>> + Send + Sync + 'static,
    ) -> &mut Self {
        let service = self.shape;
        let action = action::<O>(service);
        self.add::<O>(Box::new(move |ctx, parameters| {
            let done = (|| {
                let request = parameters.decode::<O::Input>(service.protocol)?;
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
            let request = parameters.decode::<O::Input>(service.protocol);
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
        let service = self.shape;
        let action: Arc<str> = action::<O>(service).into();
        self.add::<O>(Box::new(move |ctx, parameters| {
            let request = parameters.decode::<O::Input>(service.protocol);
            let action = Arc::clone(&action);
            Box::pin(async move {
                let request = request?;
                let cloud = Arc::clone(&ctx.cloud);
                let decide = |txn: &mut Txn<'_>| {
                    authorize(service, &action, &ctx, &touches(&ctx, &request, txn.tables()))?;
                    let token = Token::of(&ctx, O::NAME, &request);
                    if let Some(token) = &token
                        && let Some(answer) = token.replay(&ctx, txn)?
                    {
                        refuse_dry_run(service, &request)?;
                        return Ok(Decided::Encoded(answer.into()));
                    }
                    let output = run(&ctx, &request, txn)?;
                    // The transaction is dropped: a dry run has decided everything and changed nothing.
                    refuse_dry_run(service, &request)?;
                    let Some(token) = token else { return Ok(Decided::Output(output)) };
                    let body = encode(service, O::SHAPE, &output, &ctx.request_id);
                    token.remember(&ctx, txn, &body.clone().into_bytes());
                    Ok(Decided::Encoded(body))
                };
                let encoded = |decided| match decided {
                    Decided::Encoded(body) => body,
                    Decided::Output(output) => encode(service, O::SHAPE, &output, &ctx.request_id),
                };
                cloud.transact_while(mode, decide, encoded).await
            })
        }))
    }

    fn add<O: Operation>(&mut self, built: Built) -> &mut Self {
        let earlier = self.built.insert(O::NAME, built);
        debug_assert!(earlier.is_none(), "{} is registered twice", O::NAME);
        self.metrics.insert(O::NAME, OperationMetrics::default());
        self
    }

    /// Runs the operation called `action` and answers with the encoded body, or the error for the caller.
    pub async fn dispatch<'a>(
        &self,
        ctx: Context,
        action: &str,
        parameters: impl Into<Parameters<'a>>,
    ) -> Result<Body> {
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
            _ => wire::ec2::CONTENT_TYPE,
        }
    }

    /// The error in the service's own envelope.
    pub fn encode_error(&self, error: &ApiError, request_id: &str) -> String {
        match self.shape.protocol {
            Protocol::Query => wire::query::encode_error(self.shape, error, request_id),
            Protocol::Json10 | Protocol::Json11 => wire::json::encode_error(error),
            _ => wire::ec2::encode_error(error, request_id),
        }
    }
}

/// What a transaction came to.
enum Decided<T> {
    Output(T),
    Encoded(Body),
}

fn encode(
    service: &ServiceShape,
    operation: &OperationShape,
    output: &dyn Structure,
    request_id: &str,
) -> Body {
    match service.protocol {
        Protocol::Query => wire::query::encode(service, operation, output, request_id),
        Protocol::Json10 | Protocol::Json11 => wire::json::encode(output),
        _ => wire::ec2::encode(service, operation, output, request_id),
    }
    .into()
}

/// As policies name it.
fn action<O: Operation>(service: &ServiceShape) -> String {
    format!("{}:{}", service.name, O::NAME)
}

fn authorize(service: &ServiceShape, action: &str, ctx: &Context, touched: &[Touched]) -> Result<()> {
    if ctx.cloud.policy.allows(&ctx.caller, action, touched) {
        Ok(())
    } else {
        Err(match service.protocol {
            Protocol::Ec2 => errors::unauthorized(action),
            Protocol::Json10 | Protocol::Json11 => errors::access_denied_exception(&ctx.caller, action),
            _ => errors::access_denied(&ctx.caller, action),
        })
    }
}

fn refuse_dry_run(service: &ServiceShape, request: &dyn Structure) -> Result<()> {
    match wire::member(request, "DryRun") {
        ValueRef::Boolean(true) if service.protocol.is_json() => Err(errors::dry_run_exception()),
        ValueRef::Boolean(true) => Err(errors::dry_run()),
        _ => Ok(()),
    }
}
