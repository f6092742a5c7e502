// SPDX-License-Identifier: GPL-3.0-or-later
// A Flamenco job type: a task a shot of a Duohand manifest, then the report.
// Copy it into the `scripts` folder beside the Flamenco Manager.

const JOB_TYPE = {
    label: "Duohand Batch",
    description: "Turn footage of hands into takes: a task a shot, then one report",
    settings: [
        { key: "manifest", type: "string", subtype: "file_path", required: true,
          description: "The shots, as CSV or JSON" },
        { key: "out", type: "string", subtype: "dir_path", required: true,
          description: "Folder of the takes and the report, on shared storage" },
        { key: "shots", type: "string", required: true,
          description: "Which shots of the manifest, from 1: 1-40, or 3,5,8-10" },
        { key: "fbx", type: "bool", default: false, description: "Also an FBX of each take" },
        { key: "blender", type: "string", default: "blender",
          description: "A Blender on the workers that has the add-on" },
        { key: "duohand", type: "string", default: "duohand", description: "The command on the workers" },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const report = author.Task("report", "misc");
    report.addCommand(duohand(settings, []));
    for (const shot of shotNumbers(settings.shots)) {
        const task = author.Task(`shot-${shot}`, "misc");
        task.addCommand(duohand(settings, ["--only", String(shot)]));
        report.addDependency(task);
        job.addTask(task);
    }
    job.addTask(report);
}

function duohand(settings, more) {
    const args = ["batch", settings.manifest, "--out", settings.out].concat(more);
    return author.Command("exec", {
        exe: settings.duohand,
        args: settings.fbx ? args.concat(["--fbx", "--blender", settings.blender]) : args,
    });
}

function shotNumbers(text) {
    const numbers = [];
    for (const part of text.split(",")) {
        const range = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
        if (!range || Number(range[1]) < 1 || Number(range[2] || range[1]) < Number(range[1])) {
            throw new Error(`"${part}" is no shot and no range of shots; write 1-40, or 3,5,8-10`);
        }
        for (let shot = Number(range[1]); shot <= Number(range[2] || range[1]); shot++) {
            numbers.push(shot);
        }
    }
    return numbers;
}
