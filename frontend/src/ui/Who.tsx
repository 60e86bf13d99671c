import { useEffect } from "preact/hooks";
import { call, know, me } from "../session";
import { admin } from "./Admin";

/** Who is logged in, and the way out. */
export function Who() {
  useEffect(() => void know(), []);
  const who = me.value;
  if (!who) return null;
  return (
    <div class="group who">
      {who.accounts && <span class="state" title={`Role: ${who.role}`}>{who.name}</span>}
      {who.role === "admin" && (
        <button type="button" title="People, projects and the record" onClick={() => (admin.value = true)}>
          Admin
        </button>
      )}
      {who.accounts && (
        <button type="button" onClick={() => void logOut()}>
          Log out
        </button>
      )}
    </div>
  );
}

async function logOut(): Promise<void> {
  await call("api/logout", { method: "POST" });
  location.assign("login");
}
