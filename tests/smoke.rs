//! temporary
use backstay::repo::keyfile::Unlock;
use backstay::*;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smoke() {
    let dir = std::env::var("SMOKE_DIR").unwrap_or("/usr/include".into());
    let work =
        std::path::PathBuf::from(std::env::var("SMOKE_WORK").unwrap_or("/dev/shm/smoke".into()));
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).unwrap();
    let world = world::World::system();
    let store = store::open(work.join("repo").to_str().unwrap()).unwrap();
    let (repo, keys) =
        repo::Repository::init(store.clone(), world.clone(), repo::InitOptions::default())
            .await
            .unwrap();
    let progress = Arc::new(backup::Progress::default());
    let t = std::time::Instant::now();
    for round in 0..3 {
        let sources: Vec<Box<dyn source::Source>> = vec![Box::new(
            source::DirectorySource::new(source::DirectoryOptions::new("data", &dir)).unwrap(),
        )];
        let t = std::time::Instant::now();
        let report = backup::run(
            &repo,
            &sources,
            &backup::Options { host: "h".into(), ..Default::default() },
            progress.clone(),
        )
        .await
        .unwrap();
        println!(
            "backup {round} {:?} {:?} {:?} entries {} problems {}",
            t.elapsed(),
            report.stored,
            report.read_files,
            report.snapshot.sources[0].entries,
            report.problems.len()
        );
        if round == 2 {
            let unlock =
                Unlock::from_file("recovery", keys.recovery.as_ref().unwrap().as_bytes(), None)
                    .unwrap();
            let repo = repo::Repository::open(store.clone(), world.clone(), &unlock).await.unwrap();
            let t = std::time::Instant::now();
            let destination = Arc::new(destination::directory::DirectoryDestination::new(
                destination::directory::Options { path: work.join("out"), ..Default::default() },
            ));
            let options = restore::Options {
                selection: restore::Selection { source: Some("data".into()), ..Default::default() },
                delete: false,
            };
            let report =
                restore::run(&repo, &report.snapshot, destination, &options, Arc::default())
                    .await
                    .unwrap();
            println!(
                "restore {:?} files {} bytes {} fetched {} damage {:?} shortfalls {:?}",
                t.elapsed(),
                report.files,
                report.written_bytes,
                report.fetched_bytes,
                report.damage,
                report.shortfalls.len()
            );
        }
    }
    println!("{:?}", t.elapsed());
}
