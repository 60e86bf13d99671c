/** Sets the uniforms of the drawing library's WebGL shaders, without compiling code at run time.
 *
 * PixiJS, which Annotorious carries within its bundle, writes JavaScript for each shader and compiles it; that needs
 * `unsafe-eval` in the Content Security Policy. Vite puts this in its place, see vite.config.ts. */

/** What the shader's source says of a uniform. */
interface Declared {
  type: string;
  size: number;
  isArray: boolean;
}

/** Where it lies in the program that was compiled for this context. */
interface Placed {
  location: WebGLUniformLocation;
}

interface Renderer {
  gl: WebGL2RenderingContext;
  texture: { bind(texture: unknown, unit: number): void };
  shader: {
    syncUniformGroup(group: unknown, counts: Counts): void;
    syncUniformBufferGroup(group: unknown, name: string): void;
  };
}

interface Counts {
  textureCount: number;
}

/** Setter of each GLSL type; a single number comes as it is, everything else as a list. */
const SETTERS: Record<string, string> = {
  float: "uniform1fv",
  vec2: "uniform2fv",
  vec3: "uniform3fv",
  vec4: "uniform4fv",
  int: "uniform1iv",
  ivec2: "uniform2iv",
  ivec3: "uniform3iv",
  ivec4: "uniform4iv",
  uint: "uniform1uiv",
  uvec2: "uniform2uiv",
  uvec3: "uniform3uiv",
  uvec4: "uniform4uiv",
  bool: "uniform1iv",
  bvec2: "uniform2iv",
  bvec3: "uniform3iv",
  bvec4: "uniform4iv",
  sampler2D: "uniform1iv",
  samplerCube: "uniform1iv",
  sampler2DArray: "uniform1iv",
};

type Known = [Record<string, Declared>, Record<string, Placed>];

export function syncUniforms(values: Record<string, any>, [declared, placed]: Known, renderer: Renderer, counts: Counts): void {
  for (const name in values) {
    const value = values[name];
    if (declared[name] && placed[name]) set({ ...declared[name], ...placed[name] }, value, renderer, counts);
    else if (value?.group === true && value.ubo) renderer.shader.syncUniformBufferGroup(value, name);
    else if (value?.group === true) renderer.shader.syncUniformGroup(value, counts);
  }
}

function set(data: Declared & Placed, value: any, renderer: Renderer, counts: Counts): void {
  const gl = renderer.gl as any;
  const single = data.size === 1 && !data.isArray;
  if (single && data.type.startsWith("sampler") && typeof value === "object") {
    const unit = counts.textureCount++;
    renderer.texture.bind(value, unit);
    gl.uniform1i(data.location, unit);
  } else if (data.type.startsWith("mat")) {
    const side = data.type[3];
    gl[`uniformMatrix${side}fv`](data.location, false, value.toArray ? value.toArray(true) : value);
  } else {
    gl[SETTERS[data.type]!](data.location, listed(data.type, value));
  }
}

/** What PixiJS lets stand for a vector: a point, a rectangle, a colour. */
function listed(type: string, value: any): ArrayLike<number> {
  if (typeof value === "number" || typeof value === "boolean") return [Number(value)];
  if (value.red !== undefined) return [value.red, value.green, value.blue, value.alpha].slice(0, type === "vec3" ? 3 : 4);
  if (value.width !== undefined && type === "vec4") return [value.x, value.y, value.width, value.height];
  if (value.x !== undefined) return [value.x, value.y];
  return value;
}
