// Compiles shader modules, then every pipeline, by Tint: Dawn without a GPU, with WebGPU's default limits.
//
//     node check.mjs FOLDER_OF_NODE_MODULES FOLDER
//
// FOLDER holds NAME.wgsl and pipelines.json: [{ shader, entry, constants: { NAME: value } }]. Each fault is one line.
import { readFileSync, readdirSync } from "node:fs";
import { resolve, join, basename } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, folder] = process.argv.slice(2).map((path) => resolve(path));
const { create } = await import(pathToFileURL(join(modules, "webgpu", "index.js")));
// Dawn lives as long as this object: a collected one takes the device's memory with it. Its last use is the end.
const dawn = create(["backend=null"]);
const adapter = await dawn.requestAdapter();
const device = await adapter.requestDevice();
const faults = [];

const built = new Map();
const texts = readdirSync(folder).filter((file) => file.endsWith(".wgsl"));
for (const file of texts) {
  const code = readFileSync(join(folder, file), "utf8");
  device.pushErrorScope("validation"); // what it would say stands in the messages
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  await device.popErrorScope();
  const line = (message) => code.split("\n")[message.lineNum - 1]?.trim();
  faults.push(...messages.map((m) => `${file}: ${m.type}: ${m.message}: ${line(m)}`));
  if (!messages.length) built.set(basename(file, ".wgsl"), module);
}
const pipelines = JSON.parse(readFileSync(join(folder, "pipelines.json"), "utf8"));
for (const { shader, entry, constants } of pipelines.filter(({ shader }) => built.has(shader))) {
  const compute = { module: built.get(shader), entryPoint: entry, constants };
  device.pushErrorScope("validation");
  device.createComputePipeline({ layout: "auto", compute });
  const error = await device.popErrorScope();
  if (error) faults.push(`${shader}/${entry} ${JSON.stringify(constants)}: ${error.message}`);
}
console.log(`${texts.length} modules, ${pipelines.length} pipelines, ${faults.length} faults`);
faults.forEach((fault) => console.log(fault));
device.destroy();
process.exit(dawn && pipelines.length && !faults.length ? 0 : 1);
