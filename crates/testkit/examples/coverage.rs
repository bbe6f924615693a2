//! What is built, as the services themselves say: `SERVICE<tab>OPERATION<tab>built|-`, a line an operation of the models.
//! `cargo xtask coverage` reads it.

fn main() {
    for service in testkit::services() {
        let built: Vec<&str> = service.built().map(|operation| operation.name).collect();
        for operation in service.shape().operations {
            let state = if built.contains(&operation.name) { "built" } else { "-" };
            println!("{}\t{}\t{state}", service.shape().name, operation.name);
        }
    }
}
