import { useEffect } from "preact/hooks";
import { call, know, me } from "../session";
import { admin } from "./Admin";

/** Who is logged in, and the way out. */
export function Who() {
  useEffect(() => void know(), []);
  const who = me.value;
  if (!who) return null;
  return (
    <details class="menu who">
      <summary title={`Role: ${who.role}`}>{who.name}</summary>
      <div class="sheet">
        <p class="state">{who.role}</p>
        {who.role === "admin" && (
          <button type="button" onClick={() => (admin.value = true)}>
            Administration
          </button>
        )}
        {who.accounts && (
          <button type="button" onClick={() => void logOut()}>
            Log out
          </button>
        )}
      </div>
    </details>
  );
}

async function logOut(): Promise<void> {
  await call("api/logout", { method: "POST" });
  location.assign("login");
}
