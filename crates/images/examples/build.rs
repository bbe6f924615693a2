fn main() {
    struct P;
    impl images::Progress for P {
        fn begin(&self, s: &str, t: Option<u64>) {
            eprintln!("{s} {t:?}")
        }
        fn advance(&self, _: u64) {}
        fn end(&self) {}
    }
    let a: Vec<String> = std::env::args().collect();
    std::fs::create_dir_all(&a[1]).unwrap();
    let t = std::time::Instant::now();
    let m = images::nano::build(a[1].as_ref(), a[2].as_ref(), &P).unwrap();
    println!("{m:#?} {:?}", t.elapsed());
}
