//! The end of an app with everything it owns.
//!
//! ```text
//! wish recorded -> rest -> routes -> processes -> data -> folders -> images -> rows
//! ```
//!
//! The wish is a fact of the store, written first. From then on the app is gone for everybody who
//! asks for it, nothing of it starts any more, and its name is not given to another one before the
//! last row is gone. Each step finds done what an earlier attempt did, so the next server begins
//! again where the wish is still there ([`Control::go_on_destroying`]); nothing undoes a step.
//!
//! The rows go last: until then each folder and each image has an owner, and a new app of that name
//! finds none of them. An image that no row names is nobody's to remove: the rows may be those of
//! an older database that somebody restored. It stays as long as its layers ([`Control::prune`]).
//!
//! Start reading at [`Control::destroy_app`], then [`STEPS`].

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

use dozen_model::names::AppName;

use crate::{
    api::wire::{Outcome, Progress},
    control::{Control, build_error},
    error::ControlError,
    home::remove_tree,
    patience::caught,
    progress::{self, ProgressLog},
    store::{DeployState, StageRow},
    worker::Job,
};

/// Folders that hold one folder for each app.
pub(crate) const FOLDERS_OF_APPS: [&str; 3] = ["logs", "deploys", "router/access"];
/// How long a process of a destroyed app may take to end.
const GRACE: Duration = Duration::from_secs(10);
/// How often a wait looks whether the server ends.
const BEAT: Duration = Duration::from_millis(200);

/// The one step that a follower sees.
const STEP: &str = "destroy";

/// One step of a destruction.
#[derive(Debug)]
pub struct Step {
    /// Its stable name, as its barrier has it.
    pub name: &'static str,
    run: fn(&Arc<Control>, &Doomed) -> Result<(), ControlError>,
}

/// The steps, in order.
pub const STEPS: [Step; 7] = [
    Step { name: "rest", run: rest },
    Step { name: "routes", run: take_routes },
    Step { name: "processes", run: end_processes },
    Step { name: "data", run: delete_data },
    Step { name: "folders", run: delete_folders },
    Step { name: "images", run: delete_images },
    Step { name: "rows", run: delete_rows },
];

/// An app on its way out.
#[derive(Debug)]
struct Doomed {
    app: AppName,
    stages: Vec<StageRow>,
}

impl Control {
    /// Records that an app is to be destroyed and begins with it; one that is under way is followed.
    ///
    /// # Errors
    /// [`ControlError::NoSuchApp`]; then nothing has changed.
    pub fn destroy_app(self: &Arc<Self>, app: &AppName) -> Result<Arc<ProgressLog>, ControlError> {
        let mut under_way = self.destructions.lock();
        if let Some(progress) = under_way.get(app) {
            return Ok(Arc::clone(progress));
        }
        let stages = self.store.doom_app(app)?;
        self.reach_named("destroy.recorded");
        for stage in &stages {
            for deploy in self.store.open_deploys(stage.key.id)? {
                if let Some(work) = self.running_work(deploy.id) {
                    work.try_cancel();
                }
            }
        }
        let progress = Arc::new(ProgressLog::heard());
        // Who has heard this knows that the wish is recorded, whatever becomes of this server.
        progress.send(Progress::Step { step: STEP.to_owned(), title: format!("Destroying {app}") });
        under_way.insert(app.clone(), Arc::clone(&progress));
        if let Some(stage) = stages.first() {
            self.worker(stage.key.id).send(Job::Destroy);
        }
        Ok(progress)
    }

    /// The destruction of an app for somebody who has seen it begin: one that is over ended well.
    pub fn follow_destruction(self: &Arc<Self>, app: &AppName) -> Result<Arc<ProgressLog>, ControlError> {
        if self.destructions.lock().contains_key(app) || self.store.is_doomed(app)? {
            return self.destroy_app(app);
        }
        let progress = ProgressLog::heard();
        progress.send(destroyed());
        Ok(Arc::new(progress))
    }

    /// After a start of the server: begins again with every app that was to be destroyed.
    pub(crate) fn go_on_destroying(self: &Arc<Self>) -> Result<(), ControlError> {
        for app in self.store.doomed_apps()? {
            tracing::info!(%app, "goes on destroying an app");
            self.destroy_app(&app)?;
        }
        Ok(())
    }

    /// The work itself, in the thread of the app's first stage.
    pub(crate) fn destroy(self: &Arc<Self>, app: &AppName) {
        let Some(progress) = self.destructions.lock().get(app).cloned() else { return };
        let began = Instant::now();
        let ended = caught(|| self.run_steps(app));
        if self.is_ending() && ended.is_err() {
            // The next server goes on with it; whoever follows waits for that one.
            return;
        }
        self.destructions.lock().remove(app);
        progress.send(match ended {
            Ok(()) => {
                let result = "processes, releases, data and logs are gone".to_owned();
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                progress.send(Progress::Done { step: STEP.to_owned(), result, took_ms });
                destroyed()
            }
            Err(error) => {
                tracing::error!(%app, "could not destroy an app: {}", error.body().message);
                progress::failed(&error)
            }
        });
    }

    fn run_steps(self: &Arc<Self>, app: &AppName) -> Result<(), ControlError> {
        let mut stages = self.store.stages()?;
        stages.retain(|row| row.key.app == *app);
        let doomed = Doomed { app: app.clone(), stages };
        for step in &STEPS {
            if self.is_ending() {
                return Err(ControlError::Cancelled);
            }
            (step.run)(self, &doomed)?;
            self.reach_named(&format!("destroy.{}", step.name));
        }
        Ok(())
    }
}

fn destroyed() -> Progress {
    Progress::Finished { outcome: Outcome::Succeeded, release: None, urls: Vec::new(), error: None }
}

/// Waits until no change of the app is under way: each stage's thread begins nothing of it any more.
/// What waits in a queue, or was cut off with an earlier server, ends here.
fn rest(control: &Arc<Control>, doomed: &Doomed) -> Result<(), ControlError> {
    for stage in doomed.stages.iter().skip(1) {
        let (sender, rests) = channel();
        control.worker(stage.key.id).send(Job::Rest(sender));
        while rests.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            if control.is_ending() {
                return Err(ControlError::Cancelled);
            }
        }
    }
    for stage in &doomed.stages {
        for deploy in control.store.open_deploys(stage.key.id)? {
            end_change(control, doomed, deploy.id)?;
        }
    }
    Ok(())
}

/// Removes what a change has left and tells whoever follows it.
fn end_change(control: &Control, doomed: &Doomed, deploy: i64) -> Result<(), ControlError> {
    remove_tree(&control.home.build(deploy)).map_err(ControlError::io("remove the folder of a build"))?;
    let _ = fs::remove_file(control.home.incoming(deploy));
    let why = ControlError::Doomed { app: doomed.app.clone() };
    control.store.end_deploy(deploy, DeployState::Cancelled, Some(&why.body()))?;
    if let Some(work) = control.running_work(deploy) {
        work.progress.send(progress::failed(&why));
        control.work_ended(deploy);
    }
    Ok(())
}

/// Takes the app out of the route table: a server that keeps connections open does not end while
/// the router holds an idle one.
fn take_routes(control: &Arc<Control>, doomed: &Doomed) -> Result<(), ControlError> {
    for stage in &doomed.stages {
        control.take_out_of_rotation(stage.key.id)?;
    }
    control.publish()
}

/// Ends instances, release phases and one-off processes, until none is left.
fn end_processes(control: &Arc<Control>, doomed: &Doomed) -> Result<(), ControlError> {
    loop {
        let mut ends = Vec::new();
        for stage in &doomed.stages {
            let open = control.store.open_launches(stage.key.id)?;
            ends.extend(open.into_iter().map(|launch| (GRACE, launch)));
        }
        if ends.is_empty() {
            return Ok(());
        }
        control.end_together(&ends)?;
    }
}

fn delete_data(control: &Arc<Control>, doomed: &Doomed) -> Result<(), ControlError> {
    for stage in &doomed.stages {
        // An app may have taken every right from its own folders.
        dozen_build::remove_tree(&control.services_folder(stage.key.id)).map_err(build_error)?;
    }
    Ok(())
}

/// Logs, events and caches.
fn delete_folders(control: &Arc<Control>, doomed: &Doomed) -> Result<(), ControlError> {
    for stage in &doomed.stages {
        // Whoever still has something to say of it would make the log's folder again.
        control.silence(stage.key.id);
    }
    for folder in FOLDERS_OF_APPS {
        let path = control.home.root().join(folder).join(doomed.app.as_str());
        remove_tree(&path).map_err(ControlError::io("delete the app's logs"))?;
    }
    control.layers.forget_app(&doomed.app).map_err(build_error)
}

/// What only this app names. The layers stay for the next build within the cache's budget.
fn delete_images(control: &Arc<Control>, doomed: &Doomed) -> Result<(), ControlError> {
    for digest in control.store.images_only_of(&doomed.app)? {
        control.layers.remove_unleased_image(&digest).map_err(build_error)?;
    }
    Ok(())
}

fn delete_rows(control: &Arc<Control>, doomed: &Doomed) -> Result<(), ControlError> {
    control.store.delete_app(&doomed.app)?;
    let stages: BTreeSet<i64> = doomed.stages.iter().map(|stage| stage.key.id).collect();
    stages.into_iter().for_each(|stage| control.forget(stage));
    // Only now is nothing left that keeps its layers.
    control.prune();
    Ok(())
}
