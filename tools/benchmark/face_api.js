// face-api's expression network on pictures from standard input, by the package's own code on tfjs' WebAssembly backend.
//
//     node face_api.js FOLDER whole|found
//
// FOLDER is where npm has installed the packages. The first line of the answer is JSON. Then a request is n, and n
// pictures: height, width and RGB bytes; the answer n times eight floats: 1 where a face was found, and the seven
// probabilities. Numbers have 32 bits, the lowest first.
const fs = require("fs");
const path = require("path");
const { createRequire } = require("module");

const [folder, how] = process.argv.slice(2);
const here = createRequire(path.join(path.resolve(folder), "package.json"));
const home = path.dirname(path.dirname(here.resolve("@vladmandic/face-api/dist/face-api.node-wasm.js")));
const wasm = here("@tensorflow/tfjs-backend-wasm");
const faceapi = here("@vladmandic/face-api/dist/face-api.node-wasm.js");
const tf = here("@tensorflow/tfjs");

const labels = ["neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"];

function read(bytes) {
  const data = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; ) {
    const got = fs.readSync(0, data, at, bytes - at);
    if (!got) process.exit(at ? 1 : 0); // whoever asks has ended
    at += got;
  }
  return data;
}

function write(data) {
  for (let at = 0; at < data.length; ) at += fs.writeSync(1, data, at);
}

async function expression(picture) {
  const face = how === "found" ? await faceapi.detectSingleFace(picture, new faceapi.TinyFaceDetectorOptions()).withFaceExpressions() : undefined;
  const said = face ? face.expressions : await faceapi.nets.faceExpressionNet.predictExpressions(picture);
  return [face ? 1 : 0, ...labels.map((name) => said[name])];
}

async function main() {
  wasm.setWasmPaths(path.dirname(here.resolve("@tensorflow/tfjs-backend-wasm/package.json")) + "/dist/");
  await tf.setBackend("wasm");
  await tf.ready();
  await faceapi.nets.faceExpressionNet.loadFromDisk(path.join(home, "model"));
  if (how === "found") await faceapi.nets.tinyFaceDetector.loadFromDisk(path.join(home, "model"));
  write(Buffer.from(JSON.stringify({ version: faceapi.version, classes: labels }) + "\n"));
  for (;;) {
    const answer = [];
    for (let left = read(4).readUInt32LE(0); left; left--) {
      const size = read(8);
      const [height, width] = [size.readUInt32LE(0), size.readUInt32LE(4)];
      const picture = tf.tensor3d(new Uint8Array(read(height * width * 3)), [height, width, 3], "int32");
      answer.push(...(await expression(picture)));
      picture.dispose();
    }
    write(Buffer.from(new Float32Array(answer).buffer));
  }
}

main();
